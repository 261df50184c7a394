"""`python -m tests.benchmarks.cost`: what HRE takes beside the model's forwards, at 512 and 7,000 questions.

Seeded and synthetic: only the numbers of questions, answers and tokens matter. CPU seconds of this process, which
with one thread is what an idle core would take. `--before REVISION` measures that revision too, by its own copy of
this file, in the same run and in turns with this one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

SIZES = (512, 7000)
LOOKS, PLANNED = 9, 20  # evaluations before the one that is measured; of a run of so many
BUDGET = 2048  # tokens a batch, the default on the CPU
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).relative_to(ROOT)
WHAT = {
    "start": "start-up: tokenise, probe a tiny model, plan, ceiling, record",
    "encode": "of it: tokenise",
    "packed": "plan `packed`",
    "cached": "plan `cached`",
    "padded": "plan `padded`",
    "again": "plan `packed` anew with half the budget",
    "ceiling": "human ceiling",
    "first": "statistics of the baseline",
    "look": f"statistics of look {LOOKS} (rules, verdict, record)",
    "compare": f"`hre compare RUN`, {LOOKS + 1} looks",
}


def questions(count: int, seed: int = 0) -> list[Any]:
    """Four answers a question, lengths as in 71 real ones of Beer, Wine & Spirits (log-normal, medians of 57 and 91 words).

    The words are those of the bundled questions, as often as there.
    """
    from hre_callback import Answer, Question, load_questions

    rng = np.random.default_rng(seed)
    written = [t for q in load_questions("bundled") for t in (q.question, *(a.text for a in q.answers))]
    words = np.array(" ".join(written).split())

    def text(middle: float, spread: float) -> str:
        return " ".join(rng.choice(words, int(np.clip(rng.lognormal(np.log(middle), spread), 5, 700))))

    return [
        Question(
            id=f"q{i}",
            question=text(57, 0.56),
            topic=f"topic{i % 14}",
            answers=tuple(Answer(text(91, 0.86), int(votes)) for votes in rng.geometric(0.12, 4)),
        )
        for i in range(count)
    ]


def answers(asked: list[Any]) -> list[Any]:
    """Encoded answers, one token a word and a quarter, without a tokenizer."""
    from hre_callback.scoring.encoding import EncodedAnswer

    def ids(text: str) -> tuple[int, ...]:
        return tuple(range(1, 2 + len(text) // 5))

    contexts = [ids(question.question) for question in asked]
    return [
        EncodedAnswer((question.id, index), context, ids(answer.text), len(answer.text), float(len(answer.text)), False)
        for question, context in zip(asked, contexts, strict=True)
        for index, answer in enumerate(question.answers)
    ]  # fmt: skip


def scored(asked: list[Any], encoded: list[Any], look: int) -> dict[str, Any]:
    """What an evaluation hands to `correlate` at look `look` of a run that rises slowly, so that no rule ends it."""
    rng = np.random.default_rng((7, look))
    fixed = np.random.default_rng(3)
    votes = np.array([[answer.votes for answer in question.answers] for question in asked], dtype=float)
    tokens = np.array([len(answer.continuation) for answer in encoded]).reshape(votes.shape)
    level = -2.5 + 0.2 * fixed.normal(size=votes.shape) + 0.001 * look * np.log1p(votes)
    lengths = [[len(answer.text) for answer in question.answers] for question in asked]
    return {
        "fingerprint": "synthetic",
        "ids": [question.id for question in asked],
        "topics": [question.topic for question in asked],
        "votes": [[answer.votes for answer in question.answers] for question in asked],
        "loglikelihoods": (tokens * (level + 0.02 * rng.normal(size=votes.shape))).tolist(),
        "divisors": lengths,
        "lengths": lengths,
        "rounding": np.sqrt(tokens * 1e-10).tolist(),
    }


def result(asked: list[Any], encoded: list[Any], look: int) -> Any:
    """What an evaluation gives."""
    from hre_callback.stats.correlation import correlate

    return correlate(**scored(asked, encoded, look))


def measure(count: int, folder: Path) -> dict[str, float]:
    """CPU seconds of everything in `WHAT`."""
    from hre_callback.scoring.batches import plan
    from hre_callback.scoring.demo_model import tiny_model
    from hre_callback.scoring.encoding import encode
    from hre_callback.scoring.plan import group_by_context, ways
    from hre_callback.stats.ceiling import human_ceiling

    found: dict[str, float] = {}
    asked = questions(count)
    model, tokenizer = tiny_model([question.question for question in asked[:200]], vocabulary=8192)
    found["start"] = seconds(lambda: start_up(asked, model, tokenizer, folder / "start"))
    found["encode"] = seconds(lambda: encode(asked, tokenizer, max_length=2048))
    encoded = answers(asked)
    for layout in ("packed", "cached", "padded"):
        found[layout] = seconds(lambda layout=layout: plan(group_by_context(encoded), ways(layout)[0], BUDGET))
    groups = group_by_context(encoded)
    found["again"] = seconds(lambda: plan(groups, ways("packed")[0], BUDGET // 2))
    found["ceiling"] = seconds(lambda: human_ceiling([[a.votes for a in q.answers] for q in asked]))
    found |= statistics(asked, encoded, folder)
    return found


def start_up(asked: list[Any], model: Any, tokenizer: Any, folder: Path) -> None:
    """All that comes before the first evaluation."""
    from hre_callback import HREConfig, HumanRankEvaluator
    from hre_callback.run.monitor import Monitor

    evaluator = HumanRankEvaluator(asked, tokenizer)
    evaluator.prepare(model)
    Monitor(asked, HREConfig(), evaluator.fingerprint, folder / "hre.jsonl").start({})


def statistics(asked: list[Any], encoded: list[Any], folder: Path) -> dict[str, float]:
    """The correlations of an evaluation and all that follows from it, record and disk included."""
    from hre_callback import HREConfig
    from hre_callback.run.comparison import compare_series
    from hre_callback.run.monitor import Monitor
    from hre_callback.run.record import read_record
    from hre_callback.run.schedule import Stopwatch
    from hre_callback.stats.correlation import correlate

    path = folder / "hre.jsonl"
    config = HREConfig(stop_rule="drop_from_best")
    monitor = Monitor(asked, config, "synthetic", path, planned_looks=PLANNED)
    monitor.start({})
    took = []
    for look in range(LOOKS + 1):
        step = 10 * look
        history = [{"loss": 2 - s / 99, "rewards/margins": s / 99, "kl": s / 50, "step": s} for s in range(step + 1)]
        work = partial(monitor.add, epoch=None, log_history=history, watch=Stopwatch())
        found = scored(asked, encoded, look)
        took.append(seconds(lambda step=step, work=work, found=found: work(step, correlate(**found))))
    return {
        "first": took[0],
        "look": took[-1],
        "compare": seconds(lambda: compare_series(read_record(path))),
    }


def seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def in_process(package: Path, count: int) -> dict[str, float]:
    """`measure` of the checkout `package`, in a fresh process."""
    code = (
        "import json,sys,tempfile,pathlib,importlib.util as u\n"
        "s=u.spec_from_file_location('cost',sys.argv[1]);m=u.module_from_spec(s);s.loader.exec_module(m)\n"
        "with tempfile.TemporaryDirectory() as f: print(json.dumps(m.measure(int(sys.argv[2]),pathlib.Path(f))))"
    )
    env = {**os.environ, "PYTHONPATH": str(package), **dict.fromkeys(THREADS, "1")}
    command = [sys.executable, "-c", code, str(package / SCRIPT), str(count)]
    out = subprocess.run(command, env=env, cwd=package, capture_output=True, text=True, check=False)
    if out.returncode:
        raise SystemExit(out.stderr[-3000:])
    return dict(json.loads(out.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", help="a git revision to measure beside this one")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--repeats", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        packages = {"now": ROOT}
        if asked.before:
            packages = {"before": Path(folder), **packages}
            archive = subprocess.run(
                ["git", "archive", asked.before, "hre_callback", str(SCRIPT)],
                cwd=ROOT,
                capture_output=True,
                check=True,
            )
            subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        for size in asked.sizes:
            runs: dict[str, list[dict[str, float]]] = {name: [] for name in packages}
            for _ in range(asked.repeats):
                for name, package in packages.items():
                    runs[name].append(in_process(package, size))
            print(table(size, runs), flush=True)


def table(size: int, runs: dict[str, list[dict[str, float]]]) -> str:
    lines = [f"| {size:,} questions, CPU s | {' | '.join(runs)} |", "|---|" + "---|" * len(runs)]
    for key, words in WHAT.items():
        cells = [f"{median(run[key] for run in found):.3g}" for found in runs.values()]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
