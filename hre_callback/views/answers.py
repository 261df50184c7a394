"""The page's answers to what a person asks of a run, a sentence each: tests/views/test_answers.py has all. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..formatting import count, fixed
from ..run.words import Change
from .changes import topic_changes
from .figure import Others
from .headline import change_since_start, headline, whose
from .page import Answers
from .reading import Reading
from .side_by_side import last_difference

_SINCE = {
    "fall": "a signal improves while HRE falls",
    "push": "training makes answers likelier that were voted down",
    "no gain": "a signal improves without any gain for people",
    "agreement lost": "what training rewards agrees less with people than it did",
}
# Topics that are named.
_NAMED = 4


def answers(reading: Reading, name: str, others: Others = ()) -> Answers:
    """What is said below the headings of the page; `name` is the run's where there are `others`."""
    do = [*_choice(reading, name, others), *_weights(reading, f" of {name}" if others else ""), *_questions(reading)]
    return Answers(
        signal=whose(reading, _signal(reading)),
        moved=_moved(reading),
        do=[*(whose(reading, said) for said in do), *filter(None, [headline(reading).advice])],
        sure=list(_sure(reading)),
    )


def _signal(reading: Reading) -> str:
    """Does the signal still mean it?"""
    if reading.now is None or reading.now == reading.start or reading.verdict is None:
        return ""
    step = reading.steps[-1]
    if reading.verdict == "aligned":
        little = " One look after the start is little to see one by." if len(reading.looks) == 2 else ""
        return f"No mismatch seen up to step {step:,}: no signal improves while HRE falls, by more than chance.{little}"
    since = reading.diverged_since if reading.decoupled_since is None else reading.decoupled_since
    what = _SINCE.get(reading.looks[-1].cause or "", _SINCE["fall"])
    maybe = "Perhaps not" if reading.verdict == "watch" else "No longer"
    return f"{maybe}, since step {since:,}: {what}."


def _moved(reading: Reading) -> str:
    """Which topics changed clearly."""
    if reading.now is not None and reading.now == reading.start:
        return "Nothing yet: only the start is measured."
    rows = topic_changes(reading)
    clear = sorted((row for row in rows if row.low > 0 or row.high < 0), key=lambda row: -abs(row.delta))
    known = [row for row in rows if math.isfinite(row.low)]
    if len(rows) < 2 or not known:
        return ""
    if not clear:
        return f"No topic of {len(known):,} changed clearly since the start."
    named = ", ".join(f"{row.topic} {fixed(row.delta, signed=True)}" for row in clear[:_NAMED])
    more = f" and {len(clear) - _NAMED} more" if len(clear) > _NAMED else ""
    changed = f"{len(clear)} of {count(len(known), 'topic')} changed clearly since the start"
    return f"{changed}, each taken by itself: {named}{more}."


def _choice(reading: Reading, name: str, others: Others) -> Iterator[str]:
    """Which of the runs to keep."""
    found = [(label, told[1].direction) for label, other in others if (told := last_difference(reading, other))]
    higher, lower, alike = (
        ", ".join(label for label, way in found if way == wanted) for wanted in ("higher", "lower", "no clear change")
    )
    if higher:
        yield f"Keep {higher} rather than {name}: HRE is clearly higher there."
    if lower:
        yield f"Keep {name} rather than {lower}: HRE is clearly lower there."
    if alike:
        yield f"HRE does not tell {name} from {alike}: choose by something else, or ask more questions."


def _weights(reading: Reading, whose_run: str) -> Iterator[str]:
    """Which weights of this run to keep."""
    now, best, start = reading.now, reading.best, reading.start
    if now is None or best is None or now == start:
        failed = reading.events_of("skipped")
        yield "Mend what made the evaluations fail, and begin again." if failed else _wait(reading)
        return
    step, change, tone = reading.steps[now], change_since_start(reading), headline(reading).tone
    if change is None or change.direction == "not known":
        yield "Ask more questions: a change since the start cannot be told with these."
    elif change.still:
        yield "Nothing to choose between the start and now: training has not moved the ranking."
    elif change.direction == "lower" or tone == "bad":
        yield f"Do not keep the last weights{whose_run} (step {step:,}) for people’s sake: {_instead(reading, change)}."
    elif change.direction == "higher":
        yield f"Keep the last weights{whose_run} (step {step:,}) rather than the start: HRE is clearly higher."
    else:
        yield f"Nothing to choose by HRE between the start and step {step:,}."
    if tone == "watch":
        yield "Look at the next evaluation before you decide: this is a warning, not a verdict."


def _wait(reading: Reading) -> str:
    if reading.finished is not None:
        return "Evaluate again during training: a score without one after it says nothing of training."
    return "Wait for an evaluation after the start; hre watch RUN shows it when it is there."


def _instead(reading: Reading, change: Change) -> str:
    best, start = reading.best, reading.start
    assert best is not None
    if best == start:
        return "no look was higher than the start"
    behind = "HRE is clearly lower than at the start" if change.direction == "lower" else "HRE is past its best"
    return f"{behind}; it was highest at step {reading.steps[best]:,}, if a checkpoint of it is kept"


def _questions(reading: Reading) -> Iterator[str]:
    change, mde = change_since_start(reading), reading.current("mde")
    if change is not None and change.direction == "no clear change" and not change.still and math.isfinite(mde):
        yield "To see a smaller change, ask more questions; hre power --pilot RUN --delta 0.01 says how many."


def _sure(reading: Reading) -> Iterator[str]:
    """How sure is it?"""
    change, mde, p = change_since_start(reading), reading.current("mde"), reading.current("p_drop")
    if math.isfinite(mde):
        asked = count(reading.n_questions, "question")
        yield f"With {asked} a true change of {fixed(mde)} is found 4 times in 5; a smaller one may go unseen."
    if change is not None and change.direction == "lower" and math.isfinite(p):
        yield f"That chance alone makes HRE fall this far: p = {fixed(p, digits=4)}; all looks share one error rate."
    failed = len(reading.events_of("skipped"))
    if failed:
        yield f"{failed:,} of {count(failed + len(reading.looks), 'evaluation')} failed and are missing from the curve."
