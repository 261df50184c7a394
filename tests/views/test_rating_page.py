"""The page on which a person ranks: what it holds, and what Chromium and a finger or a key make of it."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256

import pytest

from hre_callback import Answer, Question, fingerprint, load_questions
from hre_callback.data.blind import answer_keys, blind_questions
from hre_callback.data.rating_files import KIND, VERSION, rating_paths, read_rating_files
from hre_callback.views.rating_page import rating_page

from ..browser import CHROMIUM, NO_CHROMIUM, Browser, browser

ASKED = load_questions("bundled", max_questions=3)
HOSTILE = "</script><script>window.hit = 1</script><!-- <script> \u2028 &amp; {{ 7 * 7 }} <b>bold</b> \u202e"


def page_of(questions, **options):
    return rating_page({"kind": KIND, "version": VERSION, **blind_questions(questions, **options)})


def question(name, *texts, text="why?"):
    return Question(name, text, tuple(Answer(one, at) for at, one in enumerate(texts)), "t")


# ---- what it holds --------------------------------------------------------------------------------------------------


def test_its_policy_forbids_every_request_and_every_script_but_its_own():
    page = page_of(ASKED)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    script = page[page.rindex("<script>") + len("<script>") : page.rindex("</script>")]
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}';" in policy and "http" not in policy
    assert not re.search(r"https?:|\bfetch\(|XMLHttp|innerHTML|eval\(", page)


def test_its_data_is_that_of_the_blind_questions_and_closes_no_script():
    page = page_of([question("q", HOSTILE, "b", text=HOSTILE)])
    assert page.count("</script>") == 2 and "<b>" not in page
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data) == {
        "kind": KIND,
        "version": VERSION,
        **blind_questions([question("q", HOSTILE, "b", text=HOSTILE)]),
    }
    assert "votes" not in data and "ratings" not in data.replace(KIND, "")


def test_every_field_has_a_label_and_every_section_its_heading():
    page = page_of(ASKED)
    for named in re.findall(r'aria-labelledby="([^"]+)"|\bfor="([^"]+)"|aria-describedby="([^"]+)"', page):
        assert f'id="{"".join(named)}"' in page
    assert page.count('role="status"') == 3 and 'role="alert"' in page and "<noscript>" in page and 'lang="en"' in page


# ---- what a person does with it -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium(tmp_path_factory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    with browser(tmp_path_factory.mktemp("browser")) as one:
        yield one


@pytest.fixture
def person(chromium, tmp_path) -> Iterator[Browser]:
    """A browser that remembers nobody, whose files come into a folder of their own; in the end nothing was wrong."""
    chromium.save_into(tmp_path / "saved")
    chromium.look(1280)
    (tmp_path / "page.html").write_text(page_of(ASKED), "utf-8")
    chromium.open(tmp_path / "page.html")
    chromium.js("localStorage.clear()")
    chromium.asked.clear()
    yield chromium
    assert chromium.console == []
    assert [url for url in chromium.asked if not url.startswith(("file:", "blob:"))] == []


def begin(person, name="Anna"):
    person.js("document.getElementById('rater').focus()")
    person.js("document.getElementById('rater').value = ''")
    person.type(name)
    person.press("Enter")


def title(person):
    return person.js(
        "document.getElementById(document.getElementById('ranking').hidden ? 'end-title' : 'title').textContent"
    )


def status(person):
    return person.js("[...document.querySelectorAll('.status')].find(one => one.offsetParent).textContent")


def marked(person):
    """The places that are marked, in the order shown; 0 where there is none."""
    return person.js(
        "[...document.querySelectorAll('.answer')].map(one => Number((one.querySelector('input:checked') || {value: 0}).value))"
    )


def shown(person):
    return person.js("[...document.querySelectorAll('.answer')].map(one => one.dataset.key)")


def test_by_keyboard_alone_from_the_name_to_the_file(person):
    """Ties, a correction, a skip and undo; what is saved reads back as what was meant."""
    person.press("Tab")
    assert person.js("document.activeElement.id") == "rater"
    person.type("Anna")
    person.press("Enter")
    assert title(person) == "Question 1 of 3" and person.js("document.activeElement.id") == "title"
    order = shown(person)
    person.press("2", "1", "1")
    assert status(person) == "Answer C: place 1. 1 to go." and marked(person) == [2, 1, 1, 0]
    person.press("Enter")
    assert title(person) == "Question 1 of 3" and "Answer D has no place yet" in status(person)
    person.press("u", "3", "4")
    assert marked(person) == [2, 1, 3, 4] and person.js("document.activeElement.id") == "next"
    person.press("Enter")
    assert title(person) == "Question 2 of 3" and marked(person) == [0, 0, 0, 0]
    person.press("s")
    assert title(person) == "Question 3 of 3"
    person.press("Backspace", "Backspace")
    assert title(person) == "Question 1 of 3" and marked(person) == [2, 1, 3, 4], "undo goes back, with its places"
    person.press("Enter", "s", "1", "1", "1", "1", "Enter")
    assert title(person) == "That was all" and person.js("document.activeElement.id") == "end-title"
    assert person.js("document.getElementById('sum').textContent") == "Anna: 2 of 3 ranked, 1 skipped."
    person.press("Tab", "Enter")
    file = person.saved("ratings-anna.json")
    assert file["ratings"][0] | {"id": ""} == {"id": "", "shown": order, "places": [2, 1, 3, 4]}
    assert file["ratings"][1]["skipped"] is True
    assert sorted(one["id"] for one in file["ratings"]) == sorted(one.id for one in ASKED)
    assert (file["rater"], file["seed"], file["fingerprint"]) == ("Anna", 0, fingerprint(ASKED))
    (read,) = read_rating_files(rating_paths(person.folder), ASKED, "q")
    first = next(one for one in ASKED if one.id == file["ratings"][0]["id"])
    meant = dict(zip(order, (2, 3, 1, 0), strict=True))
    assert read.ratings[first.id] == tuple(meant[key] for key in answer_keys(first)) and read.skipped == 1
    assert set(read.ratings.values()) - {read.ratings[first.id]} == {(1.5, 1.5, 1.5, 1.5)}


def test_by_touch_alone_on_a_phone(person):
    person.look(390, height=844, phone=True)
    begin(person, "Bo 1")
    for _ in range(3):
        for answer, place in enumerate((4, 3, 1, 1)):
            person.touch(f".answer:nth-child({answer + 1}) .places input", place - 1)
        assert marked(person) == [4, 3, 1, 1]
        person.touch("#undo")
        assert marked(person) == [4, 3, 1, 0]
        person.touch(".answer:nth-child(4) .places input", 1)
        person.touch("#next")
    assert title(person) == "That was all"
    person.touch("#end .save")
    assert [one["places"] for one in person.saved("ratings-bo-1.json")["ratings"]] == [[4, 3, 1, 2]] * 3


def test_progress_is_there_after_a_reload_and_each_person_has_their_own(person):
    begin(person)
    person.press("1", "2", "3", "4", "Enter", "2")
    mine = shown(person)
    person.reload()
    assert person.js("document.getElementById('rater').value") == "Anna"
    begin(person, "Anna")
    assert title(person) == "Question 2 of 3" and marked(person) == [2, 0, 0, 0] and shown(person) == mine
    person.reload()
    begin(person, "Bo")
    assert title(person) == "Question 1 of 3"
    person.press("u")
    assert status(person) == "There is nothing to take back."


def test_what_was_kept_is_not_believed(person):
    begin(person)
    person.press("1", "2", "3", "4", "Enter")
    (key,) = person.js("Object.keys(localStorage).filter(key => key.endsWith('Anna'))")
    good = json.loads(person.js(f"localStorage.getItem({json.dumps(key)})"))
    bad = [
        "{", "5", "null", "{}",
        json.dumps(good | {"done": good["done"] * 2}),
        json.dumps(good | {"draft": [["x", 1]]}),
        json.dumps(good | {"draft": [[good["done"][0]["shown"][0], 9]]}),
        json.dumps({"done": [good["done"][0] | {"places": [1]}], "draft": []}),
    ]  # fmt: skip
    for text in bad:
        person.js(f"localStorage.setItem({json.dumps(key)}, {json.dumps(text)})")
        person.reload()
        begin(person)
        assert title(person) == "Question 1 of 3" and "cannot be read" in status(person), text
        assert person.js(f"localStorage.getItem({json.dumps(key + ' damaged')})") == text


@pytest.mark.parametrize("fails", ["window.localStorage", "setItem"])
def test_a_browser_that_keeps_nothing_is_enough_and_says_so(fails, person, tmp_path):
    code = {
        "window.localStorage": "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError') }})",
        "setItem": "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') }",
    }[fails]
    script = person.call("Page.addScriptToEvaluateOnNewDocument", source=code)["identifier"]
    try:
        person.reload()
        begin(person)
        assert "keeps nothing" in person.js("document.getElementById('warning').textContent")
        for _ in range(3):
            person.press("1", "2", "3", "4", "Enter")
        person.js("document.querySelector('#end .save').click()")
        assert len(person.saved("ratings-anna.json")["ratings"]) == 3
    finally:
        person.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def test_a_text_is_never_markup_nor_code(person, tmp_path):
    odd = question("q\u2028</script>", HOSTILE, "b", text=HOSTILE)
    (tmp_path / "odd.html").write_text(page_of([odd]), "utf-8")
    person.open(tmp_path / "odd.html")
    begin(person, '<img src=x onerror="window.hit = 1"> "😀"')
    texts = person.js("[...document.querySelectorAll('.words')].map(one => one.textContent)")
    expected = HOSTILE.replace("\u2028", "\n").replace("\u202e", "\\u202e")
    assert texts[0] == expected and expected in texts[1:]
    person.press("1", "2", "Enter")
    assert person.js("window.hit") is None and person.js("document.querySelectorAll('main img, main b').length") == 0
    person.js("document.querySelector('#end .save').click()")
    assert person.saved("ratings-img-src-x-onerror-window-hit-1.json")["ratings"][0]["id"] == odd.id


def test_a_conversation_names_who_speaks(person, tmp_path):
    talk = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"})
    (tmp_path / "odd.html").write_text(page_of([question("q", "a", "b", text=talk)]), "utf-8")
    person.open(tmp_path / "odd.html")
    begin(person)
    assert person.js("document.getElementById('question').innerText.split(/\\n+/)") == [
        "System",
        "Be brief.",
        "User",
        "Hi",
    ]
    assert person.js("[...document.querySelectorAll('.role')].map(one => one.textContent)") == ["system", "user"]


def test_two_to_twelve_answers_and_keys_that_mean_nothing(person, tmp_path):
    asked = [question("two", "a", "b"), question("twelve", *(f"answer {at}" for at in range(12)))]
    (tmp_path / "odd.html").write_text(page_of(asked), "utf-8")
    person.open(tmp_path / "odd.html")
    begin(person)
    for _ in asked:
        count = len(shown(person))
        person.press("0", "x", " ")
        person.press(*(["9"] if count == 2 else []))
        assert marked(person) == [0] * count
        for place in range(min(count, 9)):
            person.press(str(place + 1))
        for place in range(9, count):
            person.js(f"document.querySelectorAll('.answer')[{place}].querySelectorAll('input')[{place}].click()")
        assert marked(person) == list(range(1, count + 1))
        person.js("document.getElementById('next').click()")
    assert title(person) == "That was all"
    person.press("Tab", "Tab", "Enter")
    assert title(person).startswith("Question 2"), "undo works from the end too"


def test_a_key_that_is_held_down_is_pressed_once(person):
    begin(person)
    person.hold("s", 5)
    assert title(person) == "Question 2 of 3"
    person.hold("1", 5)
    assert marked(person) == [1, 0, 0, 0]


def test_a_blank_name_is_asked_again(person):
    begin(person, "  ")
    assert "not blank" in status(person) and person.js("document.activeElement.id") == "rater"


def test_a_second_tab_of_the_same_person_loses_nothing(person, tmp_path):
    begin(person)
    person.press("1", "2")
    first = person.new_tab()
    person.open(tmp_path / "page.html")
    begin(person)
    assert marked(person) == [1, 2, 0, 0]
    person.press("3", "4", "Enter", "1")
    person.go_to(first)
    person.until("document.getElementById('title').textContent === 'Question 2 of 3'")
    assert marked(person) == [1, 0, 0, 0]


def test_orders_differ_between_people_and_are_fair(person, tmp_path):
    """Every answer comes first as often for many people, and no two of them meet the questions alike."""
    (tmp_path / "odd.html").write_text(page_of([question(f"q{at}", "a", "b", "c", "d") for at in range(4)]), "utf-8")
    person.open(tmp_path / "odd.html")
    counts = person.js(
        """(() => { const first = {}; const name = document.getElementById('rater'); const orders = new Set();
        for (let i = 0; i < 400; i++) {
          name.value = `person ${i}`; document.getElementById('who').requestSubmit();
          const [one] = document.querySelectorAll('.answer .words'); first[one.textContent] = (first[one.textContent] || 0) + 1;
          const way = [];
          for (let at = 0; at < 4; at++) { way.push(document.querySelector('.answer').dataset.key); document.getElementById('skip').click(); }
          orders.add(way.join()); }
        return [first, orders.size] })()"""
    )
    first, orders = counts
    assert set(first) == set("abcd") and all(100 - 40 < n < 100 + 40 for n in first.values()), first
    assert orders > 150, "of 256"


# ---- how it looks ---------------------------------------------------------------------------------------------------

LONG = "word " * 600 + "x" * 400


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_overflows_and_every_target_has_room_for_a_finger(width, dark, person, tmp_path):
    (tmp_path / "odd.html").write_text(page_of([question("q", *[LONG] * 6, text=LONG)]), "utf-8")
    person.open(tmp_path / "odd.html")
    person.look(width, dark=dark, phone=width < 500)
    for begun in (False, True):
        if begun:
            begin(person)
        assert person.js("document.documentElement.scrollWidth - innerWidth") <= 0
        sizes = person.js(
            "[...document.querySelectorAll('button, #rater, .places label, summary')].filter(one => one.offsetParent)"
            ".map(one => one.getBoundingClientRect()).map(box => [box.width, box.height])"
        )
        assert sizes and [size for size in sizes if min(size) < 43.9] == []
        assert min(person.js(CONTRAST)) >= 4.5


# WCAG's contrast of every text that is shown with what lies behind it.
CONTRAST = """(() => {
  const rgb = (css) => css.match(/[\\d.]+/g).map(Number);
  const light = (css) => { const [r, g, b] = rgb(css).slice(0, 3).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b };
  const behind = (one) => { for (; one; one = one.parentElement) { const c = getComputedStyle(one).backgroundColor; if (rgb(c)[3] !== 0) return c } };
  return [...document.querySelectorAll('h1, p, legend, .words, button, .places span, label, summary')].filter(one => one.offsetParent)
    .map(one => [light(getComputedStyle(one).color), light(behind(one))].sort((a, b) => b - a)).map(([a, b]) => (a + .05) / (b + .05))
})()"""


def test_on_paper_there_is_no_button(person):
    begin(person)
    person.look(800, media="print")
    seen = person.js(
        "[...document.querySelectorAll('button, input, progress, .on-paper, .words')].filter(one => one.offsetParent).map(one => one.className)"
    )
    assert set(seen) == {"on-paper", "words"}
