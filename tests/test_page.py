from __future__ import annotations

import re

import pytest

from hre_callback import page


def test_document_forbids_every_request_and_fits_a_phone():
    made = page.document("a < b", "", ["<p>x</p>", ""], "")
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in made
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in made
    assert "<title>a &lt; b</title>" in made
    assert "@media (prefers-color-scheme: dark)" in made and "<script" not in made


def test_a_section_without_content_is_left_out():
    assert page.section("x", "Title", "", "") == ""
    made = page.section("x", "T & U", "<p>body</p>")
    assert '<section aria-labelledby="x">' in made and '<h2 id="x">T &amp; U</h2>' in made


def test_tables_have_headers_for_columns_and_rows():
    made = page.table([("topic", ""), ("n", "num")], [["<i>a</i>", "1"]], "what & why")
    assert '<th scope="col" class="num">n</th>' in made
    assert '<th scope="row" class=""><i>a</i></th><td class="num">1</td>' in made
    assert "<caption>what &amp; why</caption>" in made
    with pytest.raises(ValueError):
        page.table([("topic", ""), ("n", "num")], [["a"]], "too few cells")


def test_facts_leave_out_what_is_unknown():
    assert page.facts([("a", "<1>"), ("b", "")]) == "<dl><dt>a</dt><dd>&lt;1&gt;</dd></dl>"


def _luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("text", ["ink", "soft", "people", "good", "watch", "bad", "o0", "o1", "o2", "o3"])
@pytest.mark.parametrize("ground", ["paper", "card"])
def test_text_has_the_contrast_that_wcag_asks_for(theme, text, ground):
    block = page._STYLE.split(":root")[1 + theme]
    colors = dict(re.findall(r"--(\w+):(#[0-9a-f]{6})\b", block))
    light, dark = sorted((_luminance(colors[text]), _luminance(colors[ground])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5
