"""What Chromium makes of the report: read with mouse, keys and finger, on a phone, in the dark and on paper."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hre_callback.views.report import write_report

from ..browser import CHROMIUM, NO_CHROMIUM, Browser, browser
from ..synthetic_records import grpo, healthy, mismatch, write

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
# The words that are shown at the points of all figures.
SHOWN = "[...document.querySelectorAll('.tip')].filter(one => getComputedStyle(one).opacity === '1').map(one => one.innerText)"
HOSTILE = "a-very-long-name-without-any-break-" * 4


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Iterator[Browser]:
    """A report of three runs, one with a reward, open in a browser."""
    folder = tmp_path_factory.mktemp("browser")
    runs = {"down": mismatch(9, n=40), "up": healthy(7, n=40, every=40), HOSTILE: healthy(3, n=40, every=40)}
    for look in runs["down"][1:10]:
        look["metrics"] |= {
            "mismatch/human_policy": 0.1,
            "mismatch/human_implicit": -0.2,
            "mismatch/policy_implicit": 0.3,
        }
        look["metrics"]["mismatch/regret/train/mean_token_accuracy_of_a_run"] = 0.1
    paths = [write(lines, folder / name / "hre.jsonl") for name, lines in runs.items()]
    write_report(paths[0], folder / "three.html", others=paths[1:])
    write_report(write(grpo(9, n=40), folder / "grpo" / "hre.jsonl"), folder / "reward.html")
    with browser(folder) as one:
        yield one


@pytest.fixture
def page(report):
    report.look(1280)
    report.open(report.folder / "three.html")
    return report


def point(page, share, top=100):
    """The mouse over the main figure, at a share of its width."""
    box = page.js(
        "(({x, y, width}) => [x, y + scrollY, width])(document.querySelector('.looks').getBoundingClientRect())"
    )
    page.js(f"window.scrollTo(0, {box[1] - 50})")
    at = {"x": box[0] + share * box[2], "y": 50 + top}
    page.call("Input.dispatchMouseEvent", type="mouseMoved", **at)


def test_a_point_that_is_hovered_shows_its_numbers_and_nothing_else(page):
    assert page.js(SHOWN) == []
    point(page, 0.26)
    (said,) = page.js(SHOWN)
    assert said.startswith("step 80\n") and "HRE (95 % interval) 0." in said and "\nup 0." in said
    assert "\nreward margin 0." in said and "no mismatch seen" in said
    point(page, 1.0, top=500)
    (last,) = page.js(SHOWN)
    assert last.startswith("step 320\n") and "verdict mismatch" in last, "from the panels of the signals too"


def test_tab_reaches_a_figure_once_and_arrows_go_from_point_to_point(page):
    at = "[...document.querySelectorAll('.looks')].indexOf(document.activeElement.form)"
    reached = []
    for _ in range(16):
        page.press("Tab")
        if page.js("document.activeElement.type") == "radio":
            (first,) = page.js(SHOWN)
            page.press("ArrowRight", "ArrowRight")
            (third,) = page.js(SHOWN)
            reached.append((page.js(at), first.splitlines()[0], third.splitlines()[0]))
    assert reached[:2] == [(0, "step 0", "step 80"), (1, "step 0", "step 80")]
    assert [figure for figure, *_ in reached] == list(range(len(reached))), "each figure is one stop"


def test_enter_on_a_point_leaves_the_page_where_it_is(page):
    page.js("document.querySelector('.looks input').focus()")
    page.press("Enter")
    assert page.js("location.search") == "" and page.js(SHOWN) != []


def test_a_name_of_a_point_is_what_it_shows(page):
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    named = [one["name"]["value"] for one in tree if one.get("role", {}).get("value") == "radio"]
    assert named[1].startswith("step 40 HRE (95 % interval) 0.") and all(named)


def test_on_a_phone_the_numbers_stand_at_the_foot_of_the_screen(page):
    page.look(390, phone=True)
    page.js("document.querySelectorAll('.looks input')[3].focus()")
    assert page.js(SHOWN)[0].startswith("step 120")
    box = page.js(
        "(({left, right, bottom}) => [left, right, bottom])(document.querySelectorAll('.tip')[3].getBoundingClientRect())"
    )
    assert box == [0, 390, 800]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("name", ["three", "reward"])
def test_nothing_overflows_and_no_label_is_cut(name, width, dark, report):
    report.look(width, dark=dark, phone=width < 500)
    report.open(report.folder / f"{name}.html")
    assert report.js("document.documentElement.scrollWidth - innerWidth") <= 0
    cut = report.js(
        "(() => { const words = document.createRange(); const right = (one) => "
        "{ words.selectNodeContents(one); return (one.closest('caption') ? words : one).getBoundingClientRect().right }; return "
        "[...document.querySelectorAll('.plot text, .thermometer text, .triangle text, p, li, h1, h2, h3, caption')]"
        ".filter(one => right(one) > innerWidth + 1).map(one => one.textContent) })()"
    )
    assert cut == []
    paper = report.js("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(21, 23, 26)" if dark else "rgb(253, 252, 248)")


def test_on_paper_everything_is_open_light_and_inside_the_page(page):
    page.look(718, dark=True, media="print")
    assert page.js("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    closed = "[...document.querySelectorAll('details table, details article')].filter(one => !one.checkVisibility())"
    assert page.js(f"{closed}.length") == 0 and page.js("document.querySelectorAll('details[open]').length") == 0
    assert page.js("document.querySelector('.looks').checkVisibility()") is False
    wide = "[...document.querySelectorAll('table, .plot text')].filter(one => one.getBoundingClientRect().right > 718)"
    assert page.js(f"{wide}.map(one => one.textContent)") == []


def test_nothing_is_asked_for_and_nothing_complained_of(page):
    assert page.console == [] and [url for url in page.asked if not url.startswith(("file:", "data:"))] == []
