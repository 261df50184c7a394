"""A record in a notebook: what `_repr_html_` gives, and what Chromium makes of it in a page of somebody else's."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import hre_callback
from hre_callback.run.record import Record
from hre_callback.run.record import read_record as plain_record
from hre_callback.views.notebook import ShownRecord, read_record

from ..browser import CHROMIUM, NO_CHROMIUM, browser
from ..synthetic_records import healthy, mismatch, write
from .test_report import Page, with_everything

SKIPS = [{"kind": "skipped", "step": step, "reason": "CUDA out of memory"} for step in (0, 50)]


def shown(lines, tmp_path) -> ShownRecord:
    return hre_callback.read_record(write(lines, tmp_path / "run" / "hre.jsonl"))


def test_what_is_read_is_a_record_that_shows_itself(tmp_path):
    record = shown(mismatch(9, n=40), tmp_path)
    assert hre_callback.read_record is read_record and isinstance(record, Record)
    assert record.evaluations == plain_record(tmp_path / "run").evaluations
    made = record._repr_html_()
    Page(made)
    assert "Training objective and people part ways since step" in made and "To change" not in made
    assert made.count('<svg class="panel"') == 5 and made.count('type="radio"') == 9


def test_a_damaged_record_is_refused_as_ever(tmp_path):
    with pytest.raises(ValueError, match="no such record"):
        read_record(tmp_path / "absent")


def test_it_is_small_and_so_is_the_text_that_a_notebook_keeps_beside_it(tmp_path):
    record = shown(healthy(13, n=300), tmp_path)
    assert len(record._repr_html_().encode()) < 50_000
    said = repr(record)
    assert said.startswith(
        "<Record of SmolLM2-135M-Instruct · SFTTrainer, 13 evaluations: Better for people than at the"
    )
    assert len(said) < 400


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (healthy(3, n=20)[:1], "Nothing measured yet"),
        ([*healthy(3, n=20)[:1], *SKIPS], "Nothing measured: every evaluation failed (2)"),
        ([*healthy(3, n=20)[:2], SKIPS[1]], "Only step 0 is measured: every other evaluation failed (1)"),
        (healthy(3, n=20)[:2], "Only the start is measured so far"),
    ],
)
def test_a_run_with_hardly_a_look_is_told_in_words(lines, said, tmp_path):
    record = shown(lines, tmp_path)
    made = record._repr_html_()
    Page(made)
    assert said in made and '<svg class="curves"' not in made.partition("thermometer")[0] and said in repr(record)
    assert ("CUDA out of memory" in made) == (len(record.evaluations) == 0 and bool(record.events))


def test_skips_between_looks_are_marked(tmp_path):
    lines = healthy(5, n=20)
    made = shown([*lines[:3], {"kind": "skipped", "step": 75, "reason": "oom"}, *lines[3:]], tmp_path)._repr_html_()
    assert 'class="skip"' in made and "× an evaluation that failed and was skipped." in made


def test_text_from_outside_stays_text(tmp_path):
    record = shown(with_everything(), tmp_path)
    made = record._repr_html_()
    Page(made)
    assert not re.search(r"<(script|img|b>my|i>odd)", made) and "onerror=alert(1)&gt;" in made
    assert "http" not in made and "url(" not in made
    assert "\u202e" not in repr(record) and "\ud800" not in repr(record)


def test_its_style_reaches_nothing_but_itself(tmp_path):
    made = shown(healthy(3, n=20), tmp_path)._repr_html_()
    style = re.sub(r"/\*.*?\*/", "", re.search(r"<style>(.*?)</style>", made, re.S)[1], flags=re.S)
    depth, rules, word = 0, [], ""
    for letter in style:
        if letter == "{":
            # Below a rule for a medium stand rules again.
            if depth == 0 or (depth == 1 and rules[-1].startswith("@")):
                rules.append(word.strip())
            depth, word = depth + 1, ""
        elif letter in "};":
            depth, word = depth - (letter == "}"), ""
        else:
            word += letter
    selectors = [one for rule in rules if not rule.startswith("@") for one in rule.split(",")]
    assert len(selectors) >= 10 and [one for one in selectors if ".hre" not in one] == []


def test_no_package_of_notebooks_is_needed(tmp_path):
    write(healthy(3, n=20), tmp_path / "hre.jsonl")
    code = (
        "import sys, hre_callback; assert 'hre_callback.views' not in sys.modules; "
        "assert hre_callback.read_record(sys.argv[1])._repr_html_(); sys.exit('IPython' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "hre.jsonl"]).returncode == 0


@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
def test_in_a_notebook_of_two_outputs_each_is_its_own_and_follows_the_theme(tmp_path):
    outside = "<h1>Mine</h1><svg width=9 height=9><text class=tick>1</text></svg><label>L</label><p class=note>N</p>"
    one = shown(healthy(5, n=20), tmp_path)._repr_html_()
    notebook = '<!doctype html><meta charset="utf-8"><style>html {{ overflow-y:scroll }}</style><body data-jp-theme-light="{}"><div id="o">{}</div>{}'
    styles = "[...document.querySelectorAll('#o *')].map(one => getComputedStyle(one).cssText || Object.values({...getComputedStyle(one)}).map(key => getComputedStyle(one)[key]).join())"
    paper = "getComputedStyle(document.querySelector('.hre')).backgroundColor"
    page = tmp_path / "notebook.html"
    with browser(tmp_path) as person:
        person.look(1280)
        page.write_text(notebook.format("true", outside, ""))
        person.open(page)
        alone = person.js(styles)
        page.write_text(notebook.format("true", outside, one + one))
        person.open(page)
        assert person.js(styles) == alone
        person.js("document.querySelectorAll('form')[1].querySelector('input').focus()")
        person.press("ArrowRight")
        focus = "[...document.querySelectorAll('input')].indexOf(document.activeElement)"
        assert person.js(focus) == 6, "the second point of the second output"
        for light, dark, color in (("true", True, "rgb(253, 252, 248)"), ("false", False, "rgb(21, 23, 26)")):
            page.write_text(notebook.format(light, "", one))
            person.look(1280, dark=dark)
            person.open(page)
            assert person.js(paper) == color, "the notebook's own theme goes before the system's"
        assert person.console == []
