"""What a person may give by mistake, to every command: one sentence that names it, exit code 2, nothing else touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from hre_callback import (
    Answer,
    HREConfig,
    HumanRankEvalCallback,
    HumanRankEvaluator,
    Question,
    fingerprint,
    load_questions,
)
from hre_callback.plain_text import plain_text
from hre_callback.scoring.demo_model import demo_gguf, tiny_model

from . import bad_inputs as bad
from .commands import LIMIT, fill, is_one_sentence, state
from .trainers import TEXTS
from .warm import Warm


class Case(NamedTuple):
    """A command, what its one sentence holds, and what lies in the folder: contents by name, or what prepares it."""

    command: str
    says: str
    files: dict[str, bytes] = {}
    prepare: Callable[[Path], object] = lambda folder: None
    options: dict[str, str] = {}


def of_scoring() -> Iterator[tuple[str, Case]]:
    for name, (content, says) in bad.QUESTIONS.items():
        yield f"score {name}", Case("score m q.jsonl --quiet --out s.jsonl", says, {"q.jsonl": content})
    for name, (content, says) in bad.PARQUET.items():
        yield f"score {name}", Case("score m q.parquet", says, {"q.parquet": content})
    for name, (file, content, says) in bad.DATA.items():
        yield f"score {name}", Case("score m data", says, {f"data/{file}": content})
    good = {"q.jsonl": bad.questions(bad.row())}
    yield (
        "score out_overwrites_questions",
        Case("score m q.jsonl --out q.jsonl", "q.jsonl is q.jsonl, which", good),
    )
    yield "score questions_empty_string", Case("score m --", "Missing argument", good)
    for name, (change, says) in bad.MODELS.items():
        case = Case("score m q.jsonl --out s.jsonl", says, good, on_copy(change), {"answers": "y\n" * 9})
        yield f"score {name}", case
    quiet = Case("score m q.jsonl --quiet --json", "--trust-remote-code", good, on_copy(bad.own_code))
    yield "score remote_code_stdin_y_quiet_json", quiet._replace(options={"answers": "y\n" * 9})
    for name, content in bad.GGUFS.items():
        yield f"score {name}", Case("score a.gguf q.jsonl", "a.gguf: expected", {**good, "a.gguf": content})


def on_copy(change: Callable[[Path], object]) -> Callable[[Path], object]:
    """Change a copy of the model instead of a link to it."""

    def prepare(folder: Path) -> None:
        whole = (folder / "m").resolve()
        (folder / "m").unlink()
        change(shutil.copytree(whole, folder / "m"))

    return prepare


def of_records() -> Iterator[tuple[str, Case]]:
    commands = {"report": "report run", "compare": "compare run", "watch": "watch run --once"}
    for command, words in commands.items():
        for name, (content, says) in bad.RECORDS.items():
            yield f"{command} {name}", Case(words, f"hre.jsonl, {says}", {"run/hre.jsonl": content})
        for name, content in bad.NO_RECORDS.items():
            yield f"{command} no record: {name}", Case(words, "run", {"run/hre.jsonl": content})
    for name, (content, says) in bad.RECORDS_FOR_REPORT.items():
        yield f"report {name}", Case("report run", f"hre.jsonl, {says}", {"run/hre.jsonl": content})


def of_comparing() -> Iterator[tuple[str, Case]]:
    for name, (content, says) in bad.SCORES.items():
        both = {"a.jsonl": bad.scores(), "b.jsonl": content}
        if name in ("all_null", "cluster_one"):
            both["a.jsonl"] = content
        yield f"compare {name}", Case("compare a.jsonl b.jsonl --fail-if-worse", says, both)
    one = {"a.jsonl": bad.scores(1), "b.jsonl": bad.scores(1)}
    yield "compare one_question", Case("compare a.jsonl b.jsonl", "at least 2 independent ones", one)
    few = {"a.jsonl": bad.scores(3), "b.jsonl": bad.scores(3)}
    yield (
        "compare three fail_if_worse",
        Case("compare a.jsonl b.jsonl --fail-if-worse", "could never fail", few),
    )
    for options in ("", " --fail-if-worse"):
        both = {"a.jsonl": b"", "b.jsonl": b""}
        yield (
            f"compare both_empty{options}",
            Case(f"compare a.jsonl b.jsonl{options}", "a.jsonl: holds no scores", both),
        )
    nothing = bad.record(2, "pearson", to=[None] * 12)
    case = Case(
        "compare run",
        "run: step 50 against step 0: 0 of 12 questions can be compared",
        {"run/hre.jsonl": nothing},
    )
    yield "compare pearson_all_null", case
    lines = bad.record().split(b"\n")
    for name, content in {"only_run": lines[:1], "one_eval": lines[:2]}.items():
        case = Case(
            "compare run",
            "run: a series needs two evaluations",
            {"run/hre.jsonl": b"\n".join(content) + b"\n"},
        )
        yield f"compare {name}", case


def of_building() -> Iterator[tuple[str, Case]]:
    words = "build Posts.xml --topic t --out q.jsonl"
    for name, (content, says) in bad.DUMPS.items():
        yield f"build {name}", Case(words, says, {"Posts.xml": content})
    good = {"Posts.xml": bad.dump()}
    yield (
        "build pairs_wrong_suffix",
        Case(f"{words} --pairs b.json", "b.json: found the suffix '.json'", good),
    )
    yield "build pairs_same_as_out", Case(f"{words} --pairs q.jsonl", "two outputs need two names", good)
    yield (
        "build fifo_out",
        Case(words, "q.jsonl is a pipe", good, lambda folder: os.mkfifo(folder / "q.jsonl")),
    )
    after = Case(f"{words} --after 2019-01-01", "CreationDate is no date")
    yield (
        "build date_invalid",
        after._replace(files={"Posts.xml": bad.dump().replace(b"2020-01-01T", b"garbage T")}),
    )


def of_power() -> Iterator[tuple[str, Case]]:
    rows = {
        "nan": "--delta nan", "inf": "--delta inf", "rho1": "--rho 1", "sd0": "--sd 0", "sd_neg": "--sd=-1", "sd_nan": "--sd nan",
        "sd_nan_json": "--sd nan --json", "sd_inf": "--sd inf", "tiny": "--delta 1e-300", "tiny2": "--delta 1e-160",
    }  # fmt: skip
    for name, options in rows.items():
        yield f"power {name}", Case(f"power {options}", options.lstrip("-").replace("=", " ").split()[0])
    for name in ("version_str", "pearson_2", "deep_line"):
        content, says = bad.RECORDS[name]
        yield f"power {name}", Case("power --pilot run", says, {"run/hre.jsonl": content})


def of_rating() -> Iterator[tuple[str, Case]]:
    for name in ("votes_NaN", "votes_list"):
        content, says = bad.QUESTIONS[name]
        yield f"rate {name}", Case("rate q.jsonl --out p.html", says, {"q.jsonl": content})
    good = {"q.jsonl": bad.questions(bad.row())}
    rows = {
        "no questions": ("rate --out p.html", "needs one set of questions, found 0"),
        "two sets": ("rate q.jsonl --questions q.jsonl --out p.html", "needs one set of questions, found 2"),
        "no out": ("rate q.jsonl", "Missing option"),
        "page suffix": ("rate q.jsonl --out p.jsonl", "--out is 'p.jsonl'; expected a file that ends in .html"),
        "rated suffix": ("rate q.jsonl --collect saved --out p.html", "expected a file that ends in .jsonl"),
        "over the questions": ("rate q.jsonl --collect saved --out q.jsonl", "q.jsonl is q.jsonl, which"),
        "seed of a collection": ("rate q.jsonl --collect saved --out r.jsonl --seed 1", "--max-questions and --seed are of the page"),
        "none": ("rate q.jsonl --out p.html --max-questions 0", "max-questions"),
        "damaged": ("rate q.jsonl --collect saved --out r.jsonl", "saved/x.json: expected a JSON object in UTF-8"),
    }  # fmt: skip
    for name, (command, says) in rows.items():
        yield f"rate {name}", Case(command, says, {**good, "saved/x.json": b"{"})


CASES = dict([*of_rating(), *of_scoring(), *of_records(), *of_comparing(), *of_building(), *of_power()])


@pytest.mark.parametrize("name", CASES)
def test_a_bad_input_is_one_sentence(name: str, folder: Path, warm: Warm) -> None:
    case = CASES[name]
    fill(folder, case.files)
    case.prepare(folder)
    before = state(folder)
    ended = warm.run(case.command.split(), folder, limit=LIMIT, **case.options)
    is_one_sentence(ended)
    assert case.says in ended.err, ended.err
    assert state(folder) == before


@pytest.mark.parametrize("name", bad.DUMPS_BUILT)
def test_what_a_dump_may_hold_ends_no_build(name: str, folder: Path, warm: Warm) -> None:
    (folder / "Posts.xml").write_bytes(bad.DUMPS_BUILT[name])
    words = "build Posts.xml --topic t --out q.jsonl --max-length 1000000"
    ended = warm.run(words.split(), folder, limit=LIMIT)
    assert ended.code == 0 and ended.err == "" and ended.out.startswith("1 of 1 questions"), ended


HOSTILE = [
    "\x1b[31mred",
    "[red]x[/]",
    "[/]",
    "[/red]",
    "[link=http://x]x[/link]",
    "[]",
    ":smile:",
    "$\\frac$",
    "${$",
    "a\u202eb",
]


def test_a_text_that_a_console_or_a_font_would_read_is_shown(full: Path, warm: Warm) -> None:
    (full / "q.jsonl").write_bytes(bad.as_lines([bad.row(text) for text in HOSTILE]))
    ended = warm.run(["score", "m", "q.jsonl"], full, limit=LIMIT)
    assert (ended.code, ended.err) == (0, "")
    assert all(f"│ {plain_text(text)} " in ended.out for text in HOSTILE), ended.out
    others = [full / "runs" / text.replace("/", "%") for text in HOSTILE]
    for text, other in zip(HOSTILE, others, strict=True):
        other.mkdir(parents=True)
        (other / "hre.jsonl").write_bytes(bad.record(0, "model", to=text))
    compared = [word for other in others for word in ("--compare", other)]
    for words in (
        ["report", "run", *compared],
        *(["report", o] for o in others),
        ["watch", others[0], "--once"],
    ):
        ended = warm.run(words, full, limit=LIMIT)
        assert (ended.code, ended.err) == (0, "") and "\x1b" not in ended.out, ended


@pytest.mark.parametrize("command", ["report run", "watch run --once", "compare run"])
def test_half_a_surrogate_in_a_record_ends_nothing(command: str, full: Path, warm: Warm) -> None:
    (full / "run" / "hre.jsonl").write_bytes(bad.record(0, "model", to="x\ud800y"))
    ended = warm.run(command.split(), full, limit=LIMIT)
    assert (ended.code, ended.err) == (0, ""), ended


@pytest.mark.skipif(demo_gguf() is None, reason="needs the demo's model")
def test_a_part_of_a_real_gguf_file_is_named(full: Path, warm: Warm) -> None:
    for bytes_ in (5_000, 1_000_000, 3_000_000):
        with demo_gguf().open("rb") as real:
            (full / "a.gguf").write_bytes(real.read(bytes_))
        ended = warm.run(["score", "a.gguf", "q.jsonl"], full, limit=LIMIT)
        is_one_sentence(ended)
        assert "a.gguf: expected a whole language model" in ended.err


# ---- from Python ----------------------------------------------------------------------------------------------------

TOKENIZER = tiny_model(TEXTS)[1]
ODD: dict[str, object] = {
    "a number": 5, "NaN": float("nan"), "a text": "x", "no text": "", "bytes": b"x", "a list": [None], "a set": {1}, "True": True,
    "digits": 10**400, "an array": np.zeros((2, 2)), "an object": object(), "a class": int, "half a surrogate": "\ud800",
}  # fmt: skip
ASKED = load_questions("bundled", max_questions=2)
FUNCTIONS: dict[str, tuple[Callable[[Any], object], str, tuple[str, ...]]] = {
    "source": (load_questions, "expected", ()),
    "topics": (lambda odd: load_questions("bundled", topics=odd), "topic", ()),
    "max_questions": (lambda odd: load_questions("bundled", max_questions=odd), "max_questions", ("a number", "digits")),
    "seed": (lambda odd: load_questions("bundled", seed=odd), "seed", ("a number", "digits")),
    # A text is where they are.
    "callback": (HumanRankEvalCallback, "questions|no such file or folder|source: found", ()),
    "callback's config": (lambda odd: HumanRankEvalCallback(ASKED, odd), "config", ()),
    "callback's rewards": (lambda odd: HumanRankEvalCallback(ASKED, reward_funcs=odd), "reward_funcs", ()),
    "callback's proxies": (lambda odd: HumanRankEvalCallback(ASKED, proxies=odd), "proxies", ()),
    "a proxy": (lambda odd: HumanRankEvalCallback(ASKED, proxies={"a": odd}), "proxies", ()),
    "evaluator": (lambda odd: HumanRankEvaluator(odd, TOKENIZER), "questions", ()),
    "evaluator's tokenizer": (lambda odd: HumanRankEvaluator(ASKED, odd), "tokenizer", ("a class",)),
    "evaluator's config": (lambda odd: HumanRankEvaluator(ASKED, TOKENIZER, odd), "config", ()),
    "evaluator's model": (lambda odd: HumanRankEvaluator(ASKED, TOKENIZER).evaluate(odd), "model", ()),
    "eval_steps": (lambda odd: HREConfig(eval_steps=odd), "HREConfig.eval_steps", ("a number",)),
    "alpha": (lambda odd: HREConfig(alpha=odd), "HREConfig.alpha", ()),
    "save_best": (lambda odd: HREConfig(save_best=odd), "HREConfig.save_best", ("True",)),
    "prompt": (lambda odd: HREConfig(prompt=odd), "HREConfig.prompt", ()),
    "name": (lambda odd: HREConfig(name=odd), "HREConfig.name", ("a text",)),
    "template": (lambda odd: HREConfig(chat_template_kwargs=odd), "HREConfig.chat_template_kwargs", ()),
    "id": (lambda odd: fingerprint([Question(odd, "why?", ASKED[0].answers)]), "id", ("a number", "a text")),
    "question": (lambda odd: fingerprint([Question("q", odd, ASKED[0].answers)]), "question", ("a text",)),
    "answers": (lambda odd: fingerprint([Question("q", "why?", odd)]), "answers", ()),
    "votes": (lambda odd: fingerprint([Question("q", "why?", (Answer("a", odd), Answer("b", 2)))]), "votes", ("a number",)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_python_is_given_by_mistake_is_named(name: str) -> None:
    function, says, taken = FUNCTIONS[name]
    for kind, odd in ODD.items():
        if kind in taken:
            continue
        with pytest.raises(ValueError, match=says) as error:
            function(odd)
        assert len(str(error.value)) < 600, kind
