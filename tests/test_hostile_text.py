"""One hostile string in every field of a record, a question file, a score file and a path: nobody acts on it."""

from __future__ import annotations

import copy
import io
import json
import logging
import re
import sys
import unicodedata
from html.parser import HTMLParser

import pytest
from datasets import Dataset
from rich.console import Console

from hre_callback import Answer, HREConfig, HumanRankEvalCallback, Question
from hre_callback.cli import main
from hre_callback.commands import scoring_models
from hre_callback.run.record import Record, read_record
from hre_callback.trackers import fanout
from hre_callback.trackers.base import Tracker, _markdown
from hre_callback.views.figure import main_figure
from hre_callback.views.png import chart, chart_png
from hre_callback.views.reading import Reading
from hre_callback.views.report import write_report

from .synthetic_records import mismatch, write
from .test_cli import model_folder
from .trainers import TEXTS, sft_trainer

__all__ = ["model_folder"]

FORGED = "ERROR:root: the run is fine"
HOSTILE = (
    "\x1b[31mred\x1b[0m\x1b]0;owned\x07 \x9b2J [red]x[/] [/] [link=http://evil]y[/link] $\\frac$ ^{ <script>alert(1)"
    f'</script> "><img src=x onerror=y>\r\n{FORGED}\n\u202eevil\u2066\u2028 \x00\x08 **b** ![i](http://evil/p.png) '
)
WITH_SURROGATE = HOSTILE + "\ud800"
IN_A_PATH = HOSTILE.replace("/", "|").replace("\x00", "")[:100] + "\udcff"
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def sound(text, *, markup=True):
    """Nothing in a text for a terminal or a log that they would act on; what was there is there still, as letters."""
    bad = {
        c for c in text if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} or unicodedata.bidirectional(c) in BIDI
    }
    assert bad <= {"\n"}, f"passed on: {sorted(map(repr, bad))}"
    assert not any(line.strip(" │┃|").startswith(FORGED[:10]) for line in text.splitlines()), "a forged line"
    if markup:
        assert r"\x1b[31mred" in re.sub(r"\s*\n\s*", "", text), "the text is gone"
    return text


def run_hre(*args, capsys):
    """The command in this process: exit code, stdout, stderr; no traceback."""
    old, sys.argv = sys.argv, ["hre", *map(str, args)]
    try:
        with pytest.raises(SystemExit) as left:
            main()
    finally:
        sys.argv = old
    out, err = capsys.readouterr()
    return left.value.code or 0, out, err


class Words(HTMLParser):
    """Tags, attributes and words of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words = set(), []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.words += [value for _, value in attrs if value]
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data):
        self.words.append(data)


def sound_page(path):
    page = path.read_bytes().decode()
    found = Words(page)
    assert not found.tags & {"script", "img"}
    bad = {
        c
        for w in found.words
        for c in w
        if unicodedata.category(c) in {"Cc", "Cs"} or unicodedata.bidirectional(c) in BIDI
    }
    assert bad <= {"\n"}, f"passed on: {sorted(map(repr, bad))}"
    return page


# Records --------------------------------------------------------------------------------------------------------------


def a_record():
    lines = mismatch(6, n=24)
    lines[0] |= {
        "run_name": "r",
        "overlap": {"questions": ["q0"], "n": 1, "rows": 2, "of": 3},
        "human_hre": 0.4,
    }
    lines[0]["questions"][3]["cluster"] = "c"
    lines.insert(3, {"kind": "skipped", "step": 75, "time": "now", "reason": "no memory"})
    lines.insert(4, {"kind": "save", "step": 76, "time": "now", "reason": "best"})
    lines.append({"kind": "finished", "step": 999, "time": "now", "summary": {"beats_start": False}, "errors": ["e"]})
    return lines


def places(value, at=()):
    """Where strings stand in a record's lines: values, and keys that are names of something."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*at, key))
            if "/" in key or at[-1:] in (("versions",), ("config",)):
                yield ("key", *at, key)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from places(item, (*at, i))
    elif isinstance(value, str):
        yield ("value", *at)


def planted(lines, place, text):
    kind, *way, last = place
    lines = copy.deepcopy(lines)
    holder = lines
    for step in way:
        holder = holder[step]
    if kind == "value":
        holder[last] = text
    else:
        start = last.rpartition("/")
        holder[f"{start[0]}{start[1]}{text}"] = holder.pop(last)
    return lines


def one_of_each(lines):
    """A place of each kind: the first question, evaluation and event stand for all."""
    seen = {}
    for place in places(lines):
        if place[-1] == "kind":
            continue
        line = lines[place[1]]["kind"]
        way = [part for part in place[2:] if not isinstance(part, int)]
        # Of keys, one stands for all that begin alike.
        kind = (place[0], line, *way[:-1], way[-1].rpartition("/")[0] if place[0] == "key" else way[-1])
        seen.setdefault(kind, place)
    return {"/".join(map(str, kind)): place for kind, place in seen.items()}


PLACES = one_of_each(a_record())


@pytest.mark.parametrize("kind", PLACES)
def test_a_record_with_it_in_one_place_is_shown_or_refused_in_a_line(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hre_callback.views.report.chart_png", lambda *_, **__: b"")
    path = write(planted(a_record(), PLACES[kind], WITH_SURROGATE), tmp_path / "run" / "hre.jsonl")
    for command in (["watch", "--once"], ["report"], ["compare"]):
        code, out, err = run_hre(*command, path, capsys=capsys)
        sound(out, markup=False), sound(err, markup=False)
        assert code in (0, 2) and len(err.splitlines()) == (code == 2), err
    if path.with_suffix(".html").exists():
        sound_page(path.with_suffix(".html"))


def everywhere(lines):
    """It, in every place that a record of a real run can have it in."""
    kept = {
        "kind",
        "verdict",
        "normalization",
        "started",
        "time",
        "prompt",
        "stop_rule",
        "fingerprint",
        "rule",
    }
    for place in list(places(lines)):
        name = next(part for part in reversed(place) if isinstance(part, str))
        if place[0] == "value" and name not in kept and place[2] != "name" and "config" not in place:
            # Two questions of one id are no record.
            which = str(place[3]) if name == "id" else ""
            lines = planted(lines, place, WITH_SURROGATE + which)
    for i, line in enumerate(lines):
        if line["kind"] == "evaluation":
            for table in ("metrics", "proxies"):
                line[table] = {
                    re.sub(r"(?<=topic/)java$|(?<=rewards/)margins$", lambda _: WITH_SURROGATE, key): value
                    for key, value in line[table].items()
                }
        assert json.loads(json.dumps(line)) == line, i
    return lines


@pytest.fixture
def hostile_run(tmp_path):
    return write(everywhere(a_record()), tmp_path / IN_A_PATH / "hre.jsonl").parent


def test_watch_shows_a_hostile_record_as_letters(hostile_run, capsys):
    code, out, err = run_hre("watch", hostile_run, "--once", capsys=capsys)
    assert (code, err) == (0, "")
    assert "[red]x[/]" in sound(out) or "[red]x[/]" in re.sub(r"\s", "", out)


def test_a_page_and_a_chart_show_a_hostile_record_as_letters(hostile_run, tmp_path, capsys):
    other = write(mismatch(6, n=24), tmp_path / ("$\\frac$" + IN_A_PATH) / "hre.jsonl")
    code, out, err = run_hre("report", hostile_run, "--compare", other, capsys=capsys)
    assert code == 0, err
    sound(out)
    page = sound_page(hostile_run / "hre.html")
    assert page.count("&lt;script&gt;alert(1)") > 10 and "\\x1b[31mred" in page
    assert (hostile_run / "hre.png").stat().st_size > 10_000


def test_detectors_show_a_hostile_record_as_letters(hostile_run, tmp_path, capsys):
    code, out, err = run_hre("detectors", hostile_run.parent, "--out", tmp_path / IN_A_PATH / "out", capsys=capsys)
    assert (code, err) == (0, "") and "[red]x[|]" in sound(out)
    page = sound((tmp_path / IN_A_PATH / "out" / "detectors.md").read_text(), markup=False)
    assert "<script>" not in page and (tmp_path / IN_A_PATH / "out" / "detectors.png").stat().st_size > 10_000
    (hostile_run.parent / "runs.json").write_text(json.dumps({"runs": [{"name": HOSTILE, "truth": HOSTILE}]}))
    code, out, err = run_hre("detectors", hostile_run.parent, capsys=capsys)
    assert (code, out) == (2, "") and len(sound(err).splitlines()) == 1


@pytest.mark.parametrize("text", ["$\\frac$", "$^{$", "$x$", "\\$", "物理 👩", WITH_SURROGATE])
def test_no_text_of_a_chart_is_read_as_a_formula(text, tmp_path):
    lines = a_record()
    lines[0]["model"] = text
    for line in lines:
        if "proxies" in line:
            line["proxies"] = {text: 1.0 * line["step"], f"{text}/reward": 2.0}
    record = read_record(write(lines, tmp_path / "hre.jsonl"))
    shown = main_figure(Reading(record), [(text, Reading(record))])
    assert len(chart_png(shown)) > 10_000
    figure = chart(shown)
    texts = [one for ax in figure.axes for one in (*ax.texts, ax.title, ax.xaxis.label)] + figure.texts
    assert not any(one.get_parse_math() for one in texts)


def test_a_question_of_several_paragraphs_stands_in_one_on_the_page(tmp_path):
    lines = mismatch(6, n=24)
    for question in lines[0]["questions"]:
        question["question"] = "Why?\n\nI\twonder."
    path = write_report(write(lines, tmp_path / "hre.jsonl")).html
    assert "<h4>Why? I wonder.</h4>" in path.read_text()


# Question files, score files, paths -----------------------------------------------------------------------------------


def question_file(path, n=6, **fields):
    answers = [{"text": f"{HOSTILE} {TEXTS[i]}", "votes": i} for i in range(3)]
    rows = [
        {"id": f"{i}{HOSTILE}", "topic": f"{i % 2}{HOSTILE}", "cluster": f"{i}{HOSTILE}", "question": HOSTILE}
        | {"answers": answers, **fields}
        for i in range(n)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_score_and_compare_show_hostile_questions_as_letters(model_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scoring_models, "Console", lambda **more: Console(width=2000, **more))
    questions = question_file(tmp_path / IN_A_PATH / "q.jsonl", n=8)
    # safetensors opens no path that is not UTF-8.
    folder = tmp_path / f"{IN_A_PATH[:-1]}model"
    folder.symlink_to(model_folder)
    first, second = tmp_path / f"a{IN_A_PATH}", tmp_path / f"b{IN_A_PATH}"
    for out_file in (first, second):
        code, out, err = run_hre("score", folder, questions, "--out", out_file, capsys=capsys)
        assert code == 0, err
        assert "[red]x[/] [/] [link=http://evil]y[/link]" in sound(out)
        assert "[red]x[|]" in out.splitlines()[0], "the model's name"
        # Carriage returns are those of the bars of transformers.
        sound(err.replace("\r", ""), markup=False)
    code, out, err = run_hre("compare", first, second, capsys=capsys)
    assert code == 0 and sound(out), err
    rows = [json.loads(line) | {"id": f"other {i}"} for i, line in enumerate(second.read_text().splitlines())]
    second.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = run_hre("compare", first, second, capsys=capsys)
    assert (code, out) == (2, "") and len(sound(err).splitlines()) == 1


BROKEN_QUESTIONS = {
    "half a surrogate": {"question": WITH_SURROGATE},
    "a topic with half of one": {"topic": WITH_SURROGATE},
    "no list of answers": {"answers": HOSTILE},
    "a vote": {"answers": [{"text": "a", "votes": HOSTILE}, {"text": "b", "votes": 1}]},
    "ratings": {"ratings": {HOSTILE: [HOSTILE, 1, 2]}},
    "ratings of answers": {"answers": [{"text": "a", "votes": 1, "ratings": HOSTILE}] * 2},
    "an id that is there": {"id": HOSTILE},
    HOSTILE: {"answers": None},
}


@pytest.mark.parametrize("broken", BROKEN_QUESTIONS)
def test_what_is_wrong_with_a_question_is_said_in_one_sound_line(broken, tmp_path, capsys):
    questions = question_file(tmp_path / IN_A_PATH / "q.jsonl", **BROKEN_QUESTIONS[broken])
    code, out, err = run_hre("score", "model", questions, capsys=capsys)
    assert (code, out) == (2, "") and len(sound(err).splitlines()) == 1 and "q.jsonl" in err


COMMANDS = {
    "score": ["score", IN_A_PATH, IN_A_PATH],
    "score gguf": ["score", f"{IN_A_PATH}.gguf", "bundled"],
    "score dtype": ["score", "m", "bundled", "--dtype", IN_A_PATH],
    "score layout": ["score", "m", "bundled", "--layout", IN_A_PATH],
    "score out": ["score", "m", "bundled", "--out", f"/dev/null/{IN_A_PATH}"],
    "build": ["build", IN_A_PATH, "--topic", IN_A_PATH, "--out", "x.jsonl"],
    "build out": ["build", "x", "--topic", "x", "--out", IN_A_PATH],
    "report": ["report", IN_A_PATH],
    "report out": ["report", IN_A_PATH, "--out", f"{IN_A_PATH}.pdf"],
    "watch": ["watch", IN_A_PATH, "--once"],
    "compare": ["compare", IN_A_PATH, IN_A_PATH],
    "compare one": ["compare", IN_A_PATH],
    "detectors": ["detectors", IN_A_PATH],
    "detectors out": ["detectors", ".", "--out", f"/dev/null/{IN_A_PATH}"],
    "power": ["power", "--pilot", IN_A_PATH],
    "demo": ["demo", "--out", f"/dev/null/{IN_A_PATH}"],
    "demo-model": ["demo-model", f"/dev/null/{IN_A_PATH}"],
    "no option": ["score", f"--{IN_A_PATH}"],
    "no number": ["score", "m", "bundled", "--limit", IN_A_PATH],
    "no command": [IN_A_PATH],
}


@pytest.mark.parametrize("case", COMMANDS)
def test_a_path_or_option_in_an_error_is_shown_as_letters(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, err = run_hre(*COMMANDS[case], capsys=capsys)
    assert code == 2 and out == ""
    sound(err, markup=False)
    assert list(tmp_path.iterdir()) == []


def test_build_takes_hostile_posts_as_text(tmp_path, capsys):
    from .data.test_stackexchange import answer, dump, question

    text = "".join(c for c in HOSTILE if c.isprintable() or c in "\r\n") + "long enough to be taken into account"
    posts = [question(1, title=text, OwnerDisplayName=text)]
    posts += [answer(2 + i, 1, 9 - 3 * i, text, OwnerDisplayName=text) for i in range(4)]
    path = dump(tmp_path, posts)
    folder = tmp_path / IN_A_PATH
    folder.mkdir()
    path = path.rename(folder / "Posts.xml")
    options = [
        "--topic",
        HOSTILE.replace("\x00", ""),
        "--out",
        folder / "q.jsonl",
        "--pairs",
        folder / "p.jsonl",
    ]
    code, out, err = run_hre("build", path, *options, capsys=capsys)
    assert code == 0, err
    sound(out)


# Training ---------------------------------------------------------------------------------------------------------------


class Recorder(Tracker):
    """Keeps all that a tracker is given."""

    def __init__(self):
        super().__init__("hre")
        self.seen = []

    def log(self, row, step):
        self.seen += row

    def alert(self, title, text):
        self.seen += [title, text]

    def table(self, key, columns, rows, step):
        self.seen += [cell for row in rows for cell in row if isinstance(cell, str)]


@pytest.mark.filterwarnings("ignore")
def test_training_says_nothing_that_a_terminal_or_log_acts_on(tmp_path, monkeypatch, capsys):
    sink, log = Recorder(), io.StringIO()
    monkeypatch.setattr(fanout.Trackers, "for_run", classmethod(lambda cls, *_, **__: cls([sink])))
    handler = logging.StreamHandler(log)
    questions = [
        Question(
            f"{i}{HOSTILE}",
            f"{HOSTILE} {TEXTS[i]}",
            tuple(Answer(f"{HOSTILE} {TEXTS[i + j]}", j) for j in range(3)),
            topic=f"{i % 2}{HOSTILE}",
        )
        for i in range(6)
    ]
    callback = HumanRankEvalCallback(questions, HREConfig(eval_steps=1), reward_funcs=[refuses])
    # Trained on what is held out: a warning names the questions.
    train = Dataset.from_list([{"prompt": "say", "completion": q.answers[0].text} for q in questions])
    trainer = sft_trainer(tmp_path / IN_A_PATH, [callback], train, max_steps=2)
    trainer.model.config._name_or_path = WITH_SURROGATE
    scored = 0

    def evaluate(*args, **more):
        nonlocal scored
        scored += 1
        if scored == 2:
            raise RuntimeError(WITH_SURROGATE)
        return original(*args, **more)

    from hre_callback.scoring import evaluator

    original = evaluator.HumanRankEvaluator.evaluate
    monkeypatch.setattr(evaluator.HumanRankEvaluator, "evaluate", skipping(evaluate))
    logging.getLogger("hre_callback").addHandler(handler)
    try:
        trainer.train()
    finally:
        logging.getLogger("hre_callback").removeHandler(handler)
    out, err = capsys.readouterr()
    ours = "\n".join(line for line in out.splitlines() if line.startswith("HRE"))
    assert sound(out) and ours.count("HRE step") >= 2 and "Record:" in ours
    # Carriage returns are those of the bars of datasets.
    sound(err.replace("\r", ""), markup=False)
    told = sound(log.getvalue())
    assert "was skipped, training goes on" in told and "held-out questions have answers" in told
    assert "goes on without the explicit reward" in told
    # A question keeps its own lines in a tracker's table.
    assert sink.seen and all(sound(text.replace(FORGED, "")) for text in sink.seen if "red" in text)


def refuses(prompts, completions, **columns):
    raise ValueError(WITH_SURROGATE)


def skipping(evaluate):
    from hre_callback.scoring.errors import EvaluationError

    def wrapped(self, *args, **more):
        try:
            return evaluate(self, *args, **more)
        except RuntimeError as error:
            raise EvaluationError(str(error)) from error

    return wrapped


def test_a_tracker_is_given_hostile_words_as_letters():
    sink = Recorder()
    trackers = fanout.Trackers([sink])
    trackers.log({f"hre/topic/{WITH_SURROGATE}": 0.5}, 1)
    trackers.alert(WITH_SURROGATE, WITH_SURROGATE)
    assert len(sink.seen) == 3
    for text in sink.seen:
        sound(text)


def test_no_markdown_or_html_is_read_in_the_words_of_a_tracker():
    (line,) = _markdown({"stop_reason": WITH_SURROGATE}).splitlines()
    sound(line.replace("\\\\", "\\").replace("\\[", "["))
    assert "<script" not in line and "![i]" not in line and "**b**" not in line
    assert line.startswith("- stop_reason: ")


def test_reasons_of_a_record_survive_a_word_of_many_lines(tmp_path):
    lines = a_record()
    lines[3]["reason"] = "CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`"
    assert isinstance(read_record(write(lines, tmp_path / "hre.jsonl")), Record)
    page = write_report(tmp_path / "hre.jsonl").html.read_text()
    assert "out of memory Compile with" in page
