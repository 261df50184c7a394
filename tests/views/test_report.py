from __future__ import annotations

import copy
import hashlib
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from typer.testing import CliRunner

from hre_callback.cli import app
from hre_callback.run.record import Record, RunRecord, read_record
from hre_callback.views.report import ReportPaths, render, write_report

from ..synthetic_records import flat, grpo, healthy, mismatch, write

LIMIT = 500_000  # bytes of a page
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page(HTMLParser):
    """Checks that tags close in order, and collects headings, ids, references and alternative texts."""

    VOID = {"meta", "link", "br", "img", "hr", "input"}

    def __init__(self, text):
        super().__init__()
        self.open, self.headings, self.ids, self.refs, self.images, self.text = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.refs += [found[key] for key in ("src", "href", "srcset", "data", "action", "poster") if found.get(key)]
        self.ids += [found["id"]] if "id" in found else []
        self.images += [found.get("aria-label")] if found.get("role") == "img" else []
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass  # <path/> and its kind

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.text.append(data)


def page_of(lines, tmp_path, **options):
    return render(read_record(write(lines, tmp_path / "run" / "hre.jsonl")), **options)


def with_everything():
    """A record with a stop, saves, skips, a resumption, NaN topics, undefined questions and hostile words."""
    lines = mismatch(9, n=80)
    for look in lines[1:10]:
        look["metrics"]["hre/topic/python"] = None
        look["metrics"]["hre/topic/</table><script>"] = 0.1
        look["pearson"][:8] = [None] * 8
        look["proxies"]["train/<i>odd"] = 1.0
    lines[0]["model"] = "<img src=http://example.invalid/a.png onerror=alert(1)>"
    lines[0]["questions"][9]["question"] = "</article><script>alert(2)</script> \ud800 & \u202e"
    lines[0]["questions"][9]["topic"] = '"><b>'
    lines[0]["config"]["note"] = "</dd><script>"
    lines[5]["pearson"][9], lines[1]["pearson"][9], lines[9]["pearson"][9] = 0.0, 0.99, -0.99
    events = [
        {"kind": "save", "step": 40, "reason": "best <so far>"},
        {"kind": "skipped", "step": 60, "reason": "<oom>"},
    ]
    return [*lines[:4], *events, {"kind": "resumed", "step": 80}, *lines[4:]]


RECORDS = {
    "healthy": healthy(6, n=60),
    "flat": flat(6, n=60),
    "mismatch": mismatch(8, n=60),
    "grpo": grpo(8, n=60),
    "only a baseline": healthy(3, n=30)[:2],
    "nothing yet": healthy(3, n=30)[:1],
    "two evaluations": healthy(3, n=30)[:3],
    "everything": with_everything(),
}


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_makes_a_sound_page(name, tmp_path):
    page = page_of(copy.deepcopy(RECORDS[name]), tmp_path)
    found = Page(page)
    assert found.headings[0] == 1 and found.headings.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(found.headings, found.headings[1:], strict=False)), "a heading is skipped"
    assert len(set(found.ids)) == len(found.ids)
    assert all(found.images), "a figure without a description"
    assert all(ref.startswith(("#", "data:")) for ref in found.refs) and "url(" not in page
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", " ".join(found.text)), "a missing value leaked"
    assert not re.search(r'(?:x|y|cx|cy|x1|x2|y1|y2|d)="[^"]*(?:nan|inf)', page)
    assert len(page.encode("utf-8", "replace")) < LIMIT


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("healthy", "Better for people than at the start"),
        ("flat", "No clear change since the start"),
        ("mismatch", "Training objective and people part ways since step"),
        ("only a baseline", "Only the start is measured so far"),
        ("nothing yet", "Nothing measured yet"),
    ],
)
def test_the_verdict_stands_at_the_top(name, title, tmp_path):
    page = page_of(RECORDS[name], tmp_path)
    assert title in re.search(r"<h1.*?</h1>", page)[0]


def test_words_of_others_stay_words(tmp_path):
    page = page_of(with_everything(), tmp_path)
    assert "<script" not in page and "<img" not in page and "<b>my" not in page and "<i>odd" not in page
    assert "&lt;img src=http://example.invalid/a.png" in page and "&lt;/article&gt;&lt;script&gt;" in page


def test_stop_reason_and_uncontrolled_rule_are_said(tmp_path):
    stop = {"kind": "stop", "step": 40, "rule": "patience", "reason": "No new best on 3 looks."}
    page = page_of([*healthy(4, n=40)[:5], stop], tmp_path)
    assert "Stopped at step 40 by “patience”, a rule without a controlled false-alarm rate. No new best" in page
    assert "The reward margin rose and HRE fell" in page_of(RECORDS["mismatch"], tmp_path)


@pytest.mark.parametrize("case", ["300 evaluations", "7,000 questions"])
def test_large_records_stay_small_pages(case, tmp_path):
    lines = grpo(300, n=40) if case == "300 evaluations" else healthy(3, n=7000)
    page = page_of(lines, tmp_path)
    assert len(page.encode()) < LIMIT
    Page(page)


def test_same_record_same_bytes_in_another_process(tmp_path):
    path = write(RECORDS["grpo"], tmp_path / "run" / "hre.jsonl")
    code = "import sys; from hre_callback.views.report import write_report; write_report(sys.argv[1], sys.argv[2])"
    subprocess.run([sys.executable, "-c", code, path, tmp_path / "there"], check=True)
    write_report(path, tmp_path / "here")
    for name in ("hre.html", "hre.png"):
        here, there = ((tmp_path / at / name).read_bytes() for at in ("here", "there"))
        assert hashlib.sha256(here).digest() == hashlib.sha256(there).digest()


def test_a_torn_last_line_is_no_obstacle(tmp_path):
    path = write(RECORDS["healthy"][:-1], tmp_path / "hre.jsonl")
    whole = write_report(path, tmp_path / "whole").html.read_text()
    path.write_text(path.read_text() + '{"kind":"evaluation","step":9')
    assert write_report(path, tmp_path / "torn").html.read_text() == whole


def test_people_beside_the_model_are_said_where_there_are_any(tmp_path):
    lines = copy.deepcopy(RECORDS["healthy"])
    assert "people’s own HRE" not in page_of(lines, tmp_path)
    lines[0] |= {
        "human_hre": 0.65,
        "human_hre_low": 0.6,
        "human_hre_high": 0.7,
        "human_hre_n": 30,
        "human_hre_people": 2,
    }
    page = page_of(lines, tmp_path)
    assert (
        "Thin solid line: people’s own HRE" in page
        and page.count("0.650 (95 % 0.600 to 0.700), 2 people on 30 questions") >= 3
    )


def test_where_the_report_lands(tmp_path):
    run = tmp_path / "run"
    path = write(RECORDS["healthy"], run / "hre.jsonl")
    assert write_report(run) == ReportPaths(run / "hre.html", run / "hre.png")
    assert write_report(str(path)).html == run / "hre.html"
    assert write_report(path, tmp_path / "new" / "folder").html == tmp_path / "new" / "folder" / "hre.html"
    assert write_report(path, tmp_path / "one.html") == ReportPaths(tmp_path / "one.html", tmp_path / "one.png")
    assert not list(tmp_path.rglob("*.partial"))
    with pytest.raises(ValueError, match="ends in .html"):
        write_report(path, tmp_path / "one.pdf")
    with pytest.raises(ValueError, match="needs `out`"):
        write_report(read_record(path))
    with pytest.raises(ValueError, match="no such record"):
        write_report(tmp_path / "absent.jsonl")


def test_runs_compared_by_the_names_of_their_folders(tmp_path):
    paths = [
        write(lines, tmp_path / name / "hre.jsonl")
        for name, lines in (("a", mismatch(6, n=60)), ("b", healthy(6, n=60)))
    ]
    elsewhere = flat(6, n=60)
    elsewhere[0]["fingerprint"] = "0" * 16
    far = write(elsewhere, tmp_path / "x" / "b" / "hre.jsonl")
    page = write_report(
        tmp_path / "a", tmp_path / "out", others=[paths[1], far, read_record(paths[0])]
    ).html.read_text()
    Page(page)
    rows = re.findall(r'<tr><th scope="row" class="">(.*?)</th>', page)
    assert rows[:4] == ["a", "b", "b (2)", "SmolLM2-135M-Instruct · DPOTrainer"]
    panels = 1 + 3
    assert page.count('<path class="other ') == 2 * panels, "the run on other questions is not drawn"
    assert "Not drawn: b (2)." in page


def test_reads_what_the_run_itself_writes(tmp_path):
    written = RunRecord(tmp_path / "hre.jsonl")
    lines = healthy(4, n=200)
    written.start(
        {key: value for key, value in lines[0].items() if key not in ("kind", "version", "started")},
        identity={},
    )
    for line in lines[1:]:
        written.append(
            line["kind"], line["step"], **{k: v for k, v in line.items() if k not in ("kind", "step", "time")}
        )
    assert "since the start (paired 95 %" in write_report(tmp_path).html.read_text()
    assert (
        isinstance(written.record, Record) and write_report(written.record, tmp_path / "o").png.stat().st_size > 10_000
    )


def test_without_matplotlib_the_page_is_written_and_the_command_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    path = write(RECORDS["healthy"], tmp_path / "hre.jsonl")
    assert write_report(path) == ReportPaths(tmp_path / "hre.html", None)
    result = CliRunner().invoke(app, ["report", str(path)])
    assert (
        result.exit_code == 0
        and 'none, the chart needs matplotlib: pip install "hre-callback[report]"' in result.output
    )
    assert json.loads(CliRunner().invoke(app, ["report", str(path), "--json"]).stdout)["png"] is None
    assert "Better for people" in (tmp_path / "hre.html").read_text()
    assert not (tmp_path / "hre.png").exists()


def browse(path, profile, *flags):
    """What Chromium makes of a page: its DOM, its console, and the addresses that it asked for."""
    log = profile / "net.json"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND"]  # an attempt is logged, and leaves the machine never
    command += [
        f"--user-data-dir={profile / 'profile'}",
        f"--log-net-log={log}",
        *flags,
        "--dump-dom",
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    asked = set(re.findall(r'"url":"(https?://[^"]+)"', log.read_text())) if log.exists() else set()
    return done.stdout, console, asked


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH")
def test_a_browser_opens_it_without_an_error_or_a_request(tmp_path):
    path = write_report(write(with_everything(), tmp_path / "hre.jsonl")).html
    dom, console, asked = browse(path, tmp_path)
    assert "Training objective and people part ways" in dom
    assert console == []
    assert not [url for url in asked if "example.invalid" in url]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH")
def test_the_browser_check_can_fail_and_the_policy_stops_a_request(tmp_path):
    html = write_report(write(RECORDS["healthy"], tmp_path / "hre.jsonl")).html
    page = html.read_text().replace("<main>", '<main><img src="http://example.invalid/a.png" alt="">')
    html.write_text(page)
    _, console, asked = browse(html, tmp_path)
    assert any("Content Security Policy" in line for line in console)
    assert not [url for url in asked if "example.invalid" in url]
    (tmp_path / "free").mkdir()
    html.write_text(re.sub("<meta http-equiv[^>]+>", "", page))
    _, _, asked = browse(html, tmp_path / "free")
    assert [url for url in asked if "example.invalid" in url], "the log of requests sees nothing"


def test_no_address_of_anything_in_a_page(tmp_path):
    assert not re.search(r"https?://", page_of(RECORDS["grpo"], tmp_path))
