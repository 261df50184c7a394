import time
from pathlib import Path

import pytest

from hre_callback.data import posts
from hre_callback.data.post_html import to_text, visible_length
from hre_callback.data.posts import Notes, Post, read_posts, read_threads

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


# What XML forbids ---------------------------------------------------------------------------------------------------


def body_of(tmp_path, body, notes=None, **more):
    """The body of the one post of a dump, whose attribute is `body` byte for byte."""
    body = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    (post,) = read_posts(write(tmp_path, b'<posts><row Id="1" Body="' + body + b'" /></posts>'), notes)
    return post.html


@pytest.mark.parametrize("chunk", [1, 2, 3, 1 << 20])
@pytest.mark.parametrize(
    ("body", "text", "count"),
    [
        ("a&#x0E;b", "a\ufffdb", 1),
        ("a&#14;&#000014;&#x1f;b", "a\ufffd\ufffd\ufffdb", 3),
        ("a\x0eb\x00\x1b", "a\ufffdb\ufffd\ufffd", 3),
        ("&#xD800;&#56319;&#xFFFE;&#x110000;&#0;", "\ufffd" * 5, 5),
        ("&#99999999999999999999;&#x" + "F" * 900 + ";", "\ufffd" * 2, 2),
        ("&#xD83D;&#xDE00;&#55357;&#56832;", "\U0001f600\U0001f600", 0),
        ("&#xD83D;x&#xDE00;", "\ufffdx\ufffd", 2),
        ("&#x1F600;&#xE9;&#10;&#x9;&amp;&lt;", "\U0001f600é\n\t&<", 0),
        (b"caf\xe9 \xff", "caf\ufffd \ufffd", 2),
        ("\ud800", "\ufffd" * 3, 3),  # a surrogate in UTF-8: three bytes that are no text
        ("café \U0001f600 \u202e", "café \U0001f600 \u202e", 0),
    ],
)
def test_characters_that_xml_forbids_are_replaced_and_counted(tmp_path, monkeypatch, chunk, body, text, count):
    monkeypatch.setattr(posts, "_CHUNK", chunk)
    notes = Notes()
    assert (body_of(tmp_path, body, notes), notes.replaced) == (text, count)


def test_a_forbidden_character_that_html_refers_to_is_none_either(tmp_path):
    for reference in ("&#12;", "&#xD800;", "&#0;", "\x0e", "\ud800"):
        assert to_text(f"<p>a{reference}b</p>") == "a\ufffdb"


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [
        ("utf-8", "utf-8"),
        ("iso-8859-1", "latin-1"),
        ("windows-1252", "cp1252"),
        ("utf-16", "utf-16"),
        ("UTF-8", "utf-8-sig"),
    ],
)
def test_the_declared_encoding_is_read(tmp_path, encoding, codec):
    dump = f'<?xml version="1.0" encoding="{encoding}"?><posts><row Id="1" Body="café" /></posts>'
    (post,) = read_posts(write(tmp_path, dump.encode(codec)))
    assert post.html == "café"


@pytest.mark.parametrize("encoding", ["klingon", "", "hex", "zlib", "rot13", "../x", "a" * 300])
def test_an_unknown_encoding_is_named_with_file_and_line(tmp_path, encoding):
    dump = f'<?xml version="1.0" encoding="{encoding}"?><posts><row Id="1" /></posts>'
    with pytest.raises(ValueError, match=r"Posts\.xml, line 1: unknown encoding '.*', expected utf-8"):
        list(read_posts(write(tmp_path, dump.encode())))


def test_a_dump_that_defines_entities_is_refused(tmp_path):
    laughs = '<!DOCTYPE posts [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>\n<posts><row Id="1" Body="&b;" /></posts>'
    with pytest.raises(ValueError, match=r"Posts\.xml, line 1: found an entity of its own, expected an unpacked"):
        list(read_posts(write(tmp_path, laughs.encode())))


# Odd rows -----------------------------------------------------------------------------------------------------------

GOOD = 'Id="1" PostTypeId="2" ParentId="7" Score="3"'


@pytest.mark.parametrize(
    ("row", "reason", "message"),
    [
        ('PostTypeId="2" ParentId="7" Score="3"', "Id is no integer", "Id: found None"),
        ('Id="1" ParentId="7" Score="3"', "PostTypeId is no integer", "PostTypeId: found None"),
        ('Id="1" PostTypeId="two"', "PostTypeId is no integer", "PostTypeId: found 'two'"),
        ('Id="1" PostTypeId="2" ParentId="7"', "Score is no integer", "Score: found None"),
        ('Id="1" PostTypeId="2" ParentId="7" Score="3.5"', "Score is no integer", "Score: found '3.5'"),
        ('Id="1" PostTypeId="2" ParentId="7" Score="٣"', "Score is no integer", "Score: found '٣'"),
        (
            f'Id="1" PostTypeId="2" ParentId="7" Score="{"9" * 400}"',
            "Score is no integer",
            "Score: found '9999",
        ),
        (
            f'Id="1" PostTypeId="2" ParentId="7" Score="{"9" * 5000}"',
            "Score is no integer",
            "Score: found '9999",
        ),
        ('Id="1" PostTypeId="2" Score="3"', "ParentId is no integer", "ParentId: found None"),
        (f'{GOOD} OwnerUserId="me"', "OwnerUserId is no integer", "OwnerUserId: found 'me'"),
        ('Id="0009" PostTypeId="1"', "an id that was there before", "Id: found 9 for the second time"),
        (f'{GOOD} OwnerUserId="-1"', "not written by a person", "OwnerUserId: found -1"),
        (f'{GOOD} OwnerUserId="-2"', "not written by a person", "OwnerUserId: found -2"),
        ('Id="1000000001" PostTypeId="1"', "planted in the dump", "Id: found 1000000001"),
        (
            'Id="1000000010" PostTypeId="2" ParentId="9" Score="3"',
            "planted in the dump",
            "Id: found 1000000010",
        ),
    ],
)
def test_an_odd_row_is_left_out_and_counted_by_reason(tmp_path, row, reason, message):
    dump = f'<posts>\n<row Id="9" PostTypeId="1" />\n<row {row} />\n<row {row} />\n<row {GOOD.replace("1", "8", 1)} />\n</posts>'
    notes = Notes()
    assert [post.id for post in read_threads(write(tmp_path, dump.encode()), notes)] == [9, 8]
    assert notes.left_out == {reason: 2}
    assert f"Posts.xml, line 3: {message}" in notes.first[reason] and len(notes.first[reason]) < 300
    (line,) = notes.lines()
    assert line.strip().startswith(f"2 posts left out: {reason} (") and "line 3" in line


def test_wikis_and_nominations_are_neither_read_nor_counted(tmp_path):
    rows = b'<posts><row PostTypeId="4" /><row Id="1" PostTypeId="5" /><row Id="1" PostTypeId="1" /></posts>'
    notes = Notes()
    assert len(list(read_threads(write(tmp_path, rows), notes))) == 1
    assert notes == Notes() and notes.lines() == []


# HTML that no person writes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [400, 50_000])
@pytest.mark.parametrize("tag", ["div", "blockquote", "b", "ul", "li", "pre", "p", "table", "span", "code"])
def test_nesting_of_any_depth_keeps_the_text(tag, depth):
    for end in (f"</{tag}>" * depth, ""):
        assert "still here" in to_text(f"<{tag}>" * depth + "still here" + end)


def test_the_depth_that_people_write_is_kept():
    assert to_text("<ul><li>x" * 12) == "\n".join("  " * i + "- x" for i in range(12))
    assert to_text("<blockquote>" * 12 + "x") == "> " * 12 + "x"


N = 200_000
LONG = {
    "<": "<" * N,
    "&": "&" * N,
    "<&": "<&" * N,
    "`": "`" * N,
    "code of `": f"<code>{'`' * N}</code>",
    "blanks": f"<p>a{' ' * N}b</p>",
    "blanks in code": f"<pre><code>a{' ' * N}b{' ' * N}\nc</code></pre>",
    "line ends in code": f"<pre>a{chr(10) * N}b</pre>",
    "unclosed tags": "<b>" * N,
    "unclosed paragraphs": "<p>" * N,
    "tags never closed": "<a " * N,
    "quotes never closed": '<a "' * N,
    "a tag in quotes in a tag": "<b x=\"<b x='\" y='" * N,
    "ends without beginnings": "</b>" * N,
    "comments never closed": "<!--" * N,
    "declarations": "<!" * N,
    "instructions": "<?" * N,
    "sections": "<![CDATA[" * N,
    "entities never closed": "&lt" * N,
    "entities": "&lt;&amp;" * N,
    "names of no entity": "&abcdefgh;" * N,
    "numbers": "&#" * N,
    "long numbers": f"&#{'9' * 5000};" * (N // 5000),
    "an ordered list": f"<ol>{'<li>x</li>' * N}</ol>",
    "rows of a table's head": f"<table><thead>{'<tr><td>x' * N}",
    "breaks": "<br>" * N,
    "rules": "<hr>" * N,
    "a long name": f"<{'a' * N}>",
    "a long heading's number": f"<h{'9' * N}>",
    "a wide cell": f'<table><tr><td colspan="{"9" * N}">x',
    "a late start": f'<ol start="{"9" * N}"><li>x',
    "a start that is no digit": '<ol start="²"><li>x',
}


@pytest.mark.parametrize("case", LONG)
def test_time_grows_with_the_length_and_no_faster(case):
    """Quadratic time shows as minutes here: 43 s for `<`, before."""
    begun = time.process_time()
    visible_length(LONG[case])
    to_text(LONG[case])
    assert time.process_time() - begun < 3


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("a < b && c > d", "a < b && c > d"),
        ("<p>1 <2 and <3</p>", "1 <2 and <3"),
        ("never <b closed", "never <b closed"),
        ("<!-- never closed", "<!-- never closed"),
        ("x<!doctype html><?php ?>y", "xy"),
        ("<script>alert(1)</script><style>p</style><textarea>t</textarea>", "alert(1)pt"),
        ('<p title="a > b">x</p>', "x"),
        ("<B>loud</B><BR/>x<p/>y", "**loud**\nxy"),
        ("<b>one<i>two</b>three", "**one*two***three"),
        ("</p>x</li>", "x"),
        ("http://example.com", "http://example.com"),
        ("&#x41;&#65;&copy;&#150;", "AA©–"),
        ('<ol start="7"><li>x</ol>', "7. x"),
        ("\x01\x02&#1;", "\ufffd\ufffd"),
    ],
)
def test_text_stays_text_and_tags_end(body, text):
    assert to_text(body) == text
