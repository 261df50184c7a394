from pathlib import Path

import pytest

from hre_callback import posts
from hre_callback.posts import Post, read_posts, to_text, visible_length

ROWS = (
    b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE posts SYSTEM \'posts.dtd\'>\n<posts>\n'
    b'  <row Id="1" PostTypeId="1" Score="-3" Body="&lt;p&gt;caf\xc3\xa9 &amp;amp; more&lt;/p&gt;&#xA;" Title="A" />\n'
    b'  <row Id="2"\n PostTypeId="2" ParentId="1" Score="4" Body="x" OwnerUserId="7" ContentLicense="CC BY-SA 4.0" />\n'
    b"</posts>\n"
)


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "Posts.xml"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_reads_a_dump_with_bom_and_doctype_in_chunks_of_any_size(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(posts, "_CHUNK", chunk)
    first, second = read_posts(write(tmp_path, ROWS))
    assert (first.id, first.integer("Score"), first.fields["Title"]) == (1, -3, "A")
    assert first.html == "<p>café &amp; more</p>\n"
    assert first.where.endswith("Posts.xml, line 4")
    assert second.where.endswith("Posts.xml, line 5")


def test_attribution_holds_what_the_dump_gives(tmp_path):
    first, second = read_posts(write(tmp_path, ROWS))
    assert first.attribution == {"post_id": 1}
    assert second.attribution == {"post_id": 2, "owner_id": 7, "license": "CC BY-SA 4.0"}
    gone = Post("", {"Id": "3", "OwnerDisplayName": "user54", "OwnerUserId": "-1"})
    assert gone.attribution == {"post_id": 3, "owner_id": -1, "owner": "user54"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            ROWS[: ROWS.index(b"</posts>")],
            r"line 7: no element found.*expected an unpacked Posts\.xml.*is it complete",
        ),
        (ROWS[:150], r"line 4: unclosed token.*is it complete"),
        (b"", r"line 1: no element found.*expected an unpacked Posts\.xml"),
        (b"7z\xbc\xaf\x27\x1c\x00\x04 packed", r"line 1: not well-formed.*expected an unpacked"),
        (b'<users>\n<row Id="1" /></users>', r"line 1: found <users>, expected an unpacked Posts\.xml"),
        (b'<posts>\n\n<post Id="1" /></posts>', r"line 3: found <post>, expected"),
        (b"<!doctype html><html><body>Not found</body></html>", r"line 1: .*expected an unpacked"),
    ],
)
def test_what_is_not_a_whole_dump_is_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=r"Posts\.xml, " + message):
        list(read_posts(write(tmp_path, content)))


@pytest.mark.parametrize("path", ["missing.xml", "."])
def test_no_such_file(tmp_path, path):
    with pytest.raises(ValueError, match=r"no such file, expected an unpacked Posts\.xml"):
        list(read_posts(tmp_path / path))


@pytest.mark.parametrize("value", [None, "", "3.5", "many"])
def test_a_number_that_is_none(value):
    post = Post("Posts.xml, line 9", {} if value is None else {"Score": value})
    with pytest.raises(ValueError, match=rf"Posts\.xml, line 9: Score: found {value!r}, expected an integer"):
        post.integer("Score")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<p>One\ntwo.</p>\n\n<p>Three.</p>\n", "One\ntwo.\n\nThree."),
        ("<p>Use <code>my_var *= 2</code> or snake_case * 2.</p>", "Use `my_var *= 2` or snake_case * 2."),
        (
            "<p>So:</p>\n<pre><code>def f(x_):\n    return x_ &lt; 1 &amp;&amp; 2\n\n\n# end\n</code></pre><p>Ok</p>",
            "So:\n\n```\ndef f(x_):\n    return x_ < 1 && 2\n\n\n# end\n```\n\nOk",
        ),
        ("<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul><p>d</p>", "- a\n- b\n  - c\n\nd"),
        ('<ol start="3"><li>a</li><li>b</li></ol>', "3. a\n4. b"),
        ("<blockquote>\n<p>said</p>\n<p>he</p>\n</blockquote><p>No.</p>", "> said\n>\n> he\n\nNo."),
        ('<p>See <a href="http://x.org/a_b" title="t">this page</a>.</p>', "See this page."),
        ('<p><a href="http://x.org/a_b">http://x.org/a_b</a></p>', "http://x.org/a_b"),
        ('<p>Look: <img src="i.png" alt="enter image description here"></p>', "Look:"),
        ('<p><a href="i.png"><img src="i.png" alt="x"></a></p><p>Yes</p>', "Yes"),
        (
            "<h2>Short</h2><p><strong>very</strong> <em>much</em></p><hr>",
            "## Short\n\n**very** *much*\n\n---",
        ),
        ("<p>one<br>two</p>", "one\ntwo"),
        ("<p>10<sup>6</sup> and CO<sub>2</sub><sup>[1]</sup></p>", "10^6 and CO2[1]"),
        ("<p><sup>all of this is small print</sup></p>", "all of this is small print"),
        ("<p>5 &gt; 3 &amp; 2 &#8211; caf&eacute;</p>", "5 > 3 & 2 – café"),
        ('<!-- language: lang-py --><p><img src="a.png" alt="b"></p>', ""),
    ],
)
def test_text_reads_as_it_was_typed(body, text):
    assert to_text(body) == text


def test_visible_length_counts_what_a_reader_sees():
    assert visible_length("<p>5 &gt; 3</p>\n") == len("5 > 3")
    assert visible_length('<p><img src="a.png" alt="a long description"></p>') == 0
