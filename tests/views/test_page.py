from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import jinja2
import pytest
from markupsafe import Markup

import hre_callback
from hre_callback.views import page, report
from hre_callback.views.page import Answers, Column, Table

from ..synthetic_records import grpo, healthy, reading

PACKAGE = Path(hre_callback.__file__).parent
STYLE = (PACKAGE / "views" / "style.css").read_text()


def shown(monkeypatch, lines, **changes):
    """The page of these lines, with some of its values changed."""
    pages = []
    monkeypatch.setattr(report, "written", lambda values: pages.append(values) or "")
    report.render(reading(lines).record)
    monkeypatch.undo()
    return page.written(dataclasses.replace(pages[0], **changes))


def template(text):
    return page._environment().from_string(text)


def test_document_forbids_every_request_and_fits_a_phone(monkeypatch):
    made = shown(monkeypatch, healthy(3, n=20), run="a < b")
    assert made.startswith("<!doctype html>\n")
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in made
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in made
    assert "a &lt; b</title>" in made
    assert "color-scheme: light dark" in made and "<script" not in made
    assert STYLE.strip() in made


QUESTIONS = [
    "Is it good for people?",
    "Does the signal still mean it?",
    "What moved?",
    "What should I do?",
    "How sure is it?",
]


def headings(made):
    return re.findall(r'<h2 id="\w+">(.*?)</h2>', made)


def test_the_headings_are_what_a_person_asks_in_that_order(monkeypatch):
    assert headings(shown(monkeypatch, grpo(6, n=20))) == [*QUESTIONS, "The run"]
    assert headings(shown(monkeypatch, healthy(3, n=20)[:2])) == [*QUESTIONS[2:], "The run"], (
        "a lone point is no figure"
    )
    assert headings(shown(monkeypatch, healthy(3, n=20)[:1])) == ["What should I do?", "The run"]


def test_a_section_without_content_is_left_out(monkeypatch):
    nothing = Answers("", "", [], [])
    parts = {"signal": ["signals"], "good": ["figure"], "sure": ["trust"], "moved": ["topics", "questions"], "do": []}
    for name, values in parts.items():
        made = shown(monkeypatch, grpo(6, n=20), answers=nothing, **dict.fromkeys(values))
        assert f'<section aria-labelledby="{name}">' not in made
        whole = shown(monkeypatch, grpo(6, n=20))
        assert f'<section aria-labelledby="{name}">' in whole and f'<h2 id="{name}">' in whole


def test_a_value_that_the_template_names_wrongly_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        template("{{ page.titel }}").render(page=object())
    with pytest.raises(jinja2.UndefinedError):
        template("{% if nothing %}{% endif %}").render()


def test_every_value_is_escaped_wherever_it_stands():
    made = template('<p title="{{ it }}">{{ it }}{{ it ~ it }}{{ [it]|join }}</p>').render(it='"><script>')
    assert "<script" not in made and made.count("&gt;&lt;script&gt;") == 5
    assert template("{{ it }}").render(it="\x1b\u202e\ud800") == "\\x1b\\u202e\\ud800"
    assert template("{{ it }}").render(it=Markup("<b>")) == "<b>"
    assert "safe" not in re.findall(r"\|\s*(\w+)", (PACKAGE / "views" / "page.html.jinja").read_text())


def test_only_the_canvas_makes_markup():
    """Elsewhere an empty one, or words that are escaped already."""
    makers = {
        (path.name, made)
        for path in PACKAGE.rglob("*.py")
        for made in re.findall(r"\bMarkup\((?![\")])\S*", path.read_text())
    }
    assert {name for name, _ in makers} == {"svg.py", "page.py", "rating_page.py"}
    assert [made for name, made in makers if name == "page.py"] == ["Markup(as_html(value))"]


def test_tables_have_headers_for_columns_and_rows(monkeypatch):
    columns, rows = [Column("topic"), Column("n", "num")], [[Markup("<i>a</i>"), "<1>"]]
    made = shown(monkeypatch, healthy(3, n=20), trust=Table(columns, rows, "what & why"))
    assert '<th scope="col" class="num">n</th>' in made
    assert '<th scope="row" class=""><i>a</i></th><td class="num">&lt;1&gt;</td>' in made
    assert "<caption>what &amp; why</caption>" in made and 'aria-label="what &amp; why"' in made


def test_a_row_of_too_few_cells_is_refused():
    with pytest.raises(ValueError, match="a row of 1 cells in a table of 2 columns"):
        Table([Column("topic"), Column("n", "num")], [["a"]], "too few")


def test_facts_are_names_and_values(monkeypatch):
    made = shown(monkeypatch, healthy(3, n=20), facts=[("a", "<1>")], settings=[])
    assert "<dl><dt>a</dt><dd>&lt;1&gt;</dd></dl>" in made and "Settings" not in made


def _luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("text", ["ink", "soft", "people", "good", "watch", "bad", "o0", "o1", "o2", "o3"])
@pytest.mark.parametrize("ground", ["paper", "card"])
def test_text_has_the_contrast_that_wcag_asks_for(theme, text, ground):
    both = re.findall(r"--(\w+):light-dark\((#[0-9a-f]{6}),(#[0-9a-f]{6})\)", STYLE)
    colors = {name: pair[theme] for name, *pair in both}
    light, dark = sorted((_luminance(colors[text]), _luminance(colors[ground])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5
