"""What a person is told of a run, each sentence made here and nowhere else. Pure functions.

What has changed since the start comes first, and whether that is clear; then the level. The word that a change gets is
decided by its interval (`direction`), which agrees with the p of the same comparison (`paired_difference`).
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..config import HREConfig
from ..formatting import count, fixed, span
from ..stats.two_samples import LEAST_UNITS
from .keys import cutoff_key
from .lines import Event, Summary
from .look import Outcome
from .record import Record

Direction = Literal["higher", "lower", "no clear change", "not known"]
# An interval within this of no change at all: the run does not move the ranking.
_STILL = 0.001
# A share of the wall time that nobody minds.
_CHEAP = 0.05

_MEMORY = ("before_change", "after_change", "difference", "difference_low", "difference_high")
_VERDICTS = {"aligned": "no mismatch seen"}
_CEILINGS = {
    "annotators": "The human ceiling comes from the people who rated, split in halves at random, question by question "
    "({rated} that two or more rated).",
    "counts": "The human ceiling comes from the votes, which are counts, each dealt to one of two halves at random.",
    "few raters": "No human ceiling: no two people rated the same answers, so that how far another would differ is not "
    "known.",
    "no counts": "No human ceiling: the votes are neither counts (whole numbers more than 10 apart, or declared as "
    "counted) nor made of ratings that are given.",
    "alike": "No human ceiling: the votes of no question differ.",
    "judge": "No human ceiling: the votes are not people's.",
}


@dataclass(frozen=True, slots=True)
class Change:
    """HRE's change since a reference on the same questions, and its 95 % interval; NaN where it is not known."""

    delta: float
    low: float
    high: float

    @property
    def direction(self) -> Direction:
        """What the change amounts to: decided here, for all that is said of it."""
        if not math.isfinite(self.low + self.high):
            return "not known"
        return "higher" if self.low > 0 else "lower" if self.high < 0 else "no clear change"

    @property
    def still(self) -> bool:
        """Whether all that it may be is next to nothing."""
        return max(abs(self.low), abs(self.high)) <= _STILL

    def told(self, since: str = " since the start", more: str = "") -> str:
        """`higher, +0.226 since the start (paired 95 % +0.120 to +0.364)`; `more` stands beside the interval."""
        ends = span(self.low, self.high, signed=True)
        if self.still:
            return f"has not moved{since} ({ends}{more})"
        if self.direction == "not known":
            of = "" if not math.isfinite(self.delta) else f"{fixed(self.delta, signed=True)}{since}, "
            return f"{of}too few questions for an interval{more}"
        return f"{self.direction}, {fixed(self.delta, signed=True)}{since} (paired 95 % {ends}{more})"


def change_of(row: Mapping[str, float | None], name: str) -> Change | None:
    """The change that an evaluation's row tells; `None` at the baseline."""
    found = [row.get(f"{name}/delta_start{end}") for end in ("", "_low", "_high")]
    if found[0] is None:
        return None
    return Change(*(math.nan if value is None else float(value) for value in found))


def level(low: float, high: float) -> str:
    """What HRE itself says, given its interval: a second claim, and not about the change."""
    if not math.isfinite(low + high):
        return ""
    if low > 0:
        return "above 0: the model ranks answers more as people do than not"
    if high < 0:
        return "below 0: the model ranks answers against people's votes"
    return "not clear of 0: that the model ranks answers as people do is not shown"


def mostly_pairs(answers: Sequence[int]) -> bool:
    """Whether most questions have two answers, given the number of each; 0 where it is not known."""
    return 2 * sum(n == 2 for n in answers) > len(answers)


def pair_accuracy_words(accuracy: float | None, answers: Sequence[int]) -> str:
    """`pair accuracy 0.613 (...)`, what a reader of pairs knows; empty unless most questions have two answers.

    Args:
        accuracy: over all questions with votes that differ.
        answers: of each question.
    """
    if accuracy is None or not math.isfinite(accuracy) or not mostly_pairs(answers):
        return ""
    of = "HRE is 2 × accuracy − 1" if all(n == 2 for n in answers) else "most questions have two answers"
    return f"pair accuracy {fixed(accuracy)} (ties in votes dropped, 0.5 is chance; {of})"


def two_answers_line(delta: float, answers: Sequence[int]) -> str:
    """What a difference in HRE is in pair accuracy; empty unless most questions have two answers."""
    if not mostly_pairs(answers):
        return ""
    return (
        f"Most questions have two answers: r is +1 or −1 and HRE is 2 × pair accuracy − 1, so {delta:g} in HRE is "
        f"{delta / 2:g} in pair accuracy"
    )


def ceiling_words(source: str | None, n: int) -> str:
    """Where the human ceiling comes from, or why there is none, see `stats.ceiling`; empty where nobody knows."""
    if source == "few raters" and n:
        rated = count(n, "question")
        return f"No human ceiling: two people or more rated {rated} alone, too few to say how far people differ."
    return _CEILINGS.get(source or "", "").format(rated=count(n, "question"))


def unrated_words(people: int, first: str) -> str:
    """That `groups` name people who rated nothing."""
    who = f"{first!r:.60}" if people == 1 else f"{people:,} people such as {first!r:.60}"
    return f"The questions' groups name {who} without a rating (`ratings`): they count in no group."


def cutoff_words(cutoff: str, before: int, after: int, undated: int = 0) -> str:
    """Why questions do not tell what rises by memory; empty where there are enough on both sides of the cutoff.

    Args:
        before, after, undated: numbers of questions.
    """
    if before >= LEAST_UNITS and after >= LEAST_UNITS:
        return ""
    if not before + after:
        return f"No question has a date: HRE before and after the cutoff, {cutoff}, cannot be told apart."
    few, side = min((after, "after"), (before, "before"))
    rest = f" ({count(undated, 'question')} without a date)" if undated else ""
    found = f"{count(few, 'question')} {'is' if few == 1 else 'are'} from {side} the cutoff, {cutoff}{rest}"
    return f"{found}: {LEAST_UNITS} on either side are needed to tell what rises by memory."


def cutoff_lines(found: Mapping[str, Any], undated: int) -> list[str]:
    """HRE before and after the cutoff of one scoring, as `scores.cutoff_summary` has it, and what it does not say."""
    lines, numbers = [], {side: round(found[side]["n"]) for side in ("before", "after")}
    for side, n in numbers.items():
        low, high = (math.nan if found[side][end] is None else found[side][end] for end in ("ci_low", "ci_high"))
        ends = f"95 % {span(low, high)}, " if math.isfinite(low + high) else ""
        if n:
            hre = f"HRE {fixed(found[side]['score'])} ({ends}{count(n, 'question')})"
            lines.append(f"From {side} {found['day']}: {hre}")
    few = cutoff_words(found["day"], numbers["before"], numbers["after"], undated)
    return [*lines, few or "Old questions may be easier: what rises by memory shows in two scorings, or in a run."]


def memory_words(row: Mapping[str, float | None], name: str, cutoff: str) -> str:
    """Whether HRE changed more on questions from before the cutoff than on those from after it; empty where unclear."""
    found = {key: row.get(f"{name}/{cutoff_key(key)}") for key in _MEMORY}
    numbers = {key: math.nan if value is None else float(value) for key, value in found.items()}
    apart = Change(numbers["difference"], numbers["difference_low"], numbers["difference_high"])
    if apart.direction not in ("higher", "lower"):
        return ""
    both = [fixed(numbers[f"{side}_change"], signed=True) for side in ("before", "after")]
    ends = span(apart.low, apart.high, signed=True)
    told = f"since the start {both[0]} on questions from before {cutoff}, {both[1]} on those from after it"
    means = "what rises on old ones alone may be memory" if apart.direction == "lower" else "memory does not explain it"
    return f"{told} (difference {fixed(apart.delta, signed=True)}, 95 % {ends}): {means}"


def verdict_words(name: object) -> str:
    """A verdict as a person reads it: a run that does not move is aligned with nothing, only nothing was seen."""
    return "" if name is None else _VERDICTS.get(str(name), str(name))


# ---- while it runs ---------------------------------------------------------------------------------------


def console_line(name: str, step: int, outcome: Outcome, answers: Sequence[int] = ()) -> str:
    """One evaluation: what changed, where HRE stands, what it took; a verdict when it is worth hearing.

    Args:
        answers: of each question.
    """
    row, verdict = outcome.row, outcome.verdict
    ends = span(row[f"{name}/ci_low"], row[f"{name}/ci_high"])
    change = change_of(row, name)
    pairs = pair_accuracy_words(row.get(f"{name}/pair_accuracy"), answers)
    told = "the start, HRE" if change is None else f"{change.told()}; now"
    if pairs:
        told = f"{'the start,' if change is None else told} {pairs}, HRE"
    asked = count(round(row[f"{name}/n"]), "question")
    line = f"{name.upper()} step {step}: {told} {fixed(outcome.score)} (95 % {ends}, {asked})"
    if (seconds := row.get(f"{name}/seconds")) is not None:
        line += f"; {seconds:.1f} s"
    if verdict is not None and verdict.name != "aligned":
        line += f". {verdict.name.upper()}: {verdict.reason}"
        line += f". {outcome.advice}" if outcome.advice else ""
    return line


def workspace_line(address: str) -> str:
    """Where the W&B workspace is that the run has saved."""
    return f"W&B workspace: {address}"


def no_workspace_line(reason: str) -> str:
    """Why there is none although it was asked for."""
    return f"HRE saved no W&B workspace, all else goes on: {reason}"


def displacement_line(top: float, bottom: float) -> str:
    """Likelihood displacement, which is no verdict: HRE judges ranks, and nearly every DPO run does this."""
    both = f"{fixed(top, signed=True)} and {fixed(bottom, signed=True)} nats a character since the start"
    return f"People's best and worst answers both lose likelihood ({both}): likelihood displacement, not a verdict"


def probes_line(name: str, told: Mapping[str, Any]) -> str:
    """What style probes take, in tokens.

    Args:
        told: see `scoring.probed.Probes.as_dict`.
    """
    if told.get("refused"):
        return f"{name.upper()} scores no style probe: {told['refused']}"
    n, left_out = (sum(one[what] for one in told["kinds"].values()) for what in ("answers", "left_out"))
    more, times = told["tokens"], 1 + told["tokens"]["unique"] / max(1, told["of_hre"]["unique"])
    line = f"{name.upper()} scores {count(n, 'style probe')}: {more['unique']:,} tokens an evaluation more "
    line += f"({more['naive']:,} in rows of their own), {times:.1f} times as many in all"
    return line + (f"; {left_out:,} left out, they do not fit" if left_out else "")


def cost_line(name: str, overhead: float, config: HREConfig, questions: int) -> str:
    """What HRE takes of the time, and what would lower it."""
    line = f"{name.upper()} takes {overhead:.0%} of the time so far"
    if overhead <= _CHEAP:
        return line
    if config.max_overhead is not None:
        return f"{line}; max_overhead={config.max_overhead:g} puts evaluations off until it is less"
    return f"{line}; max_overhead=0.05, a larger eval_steps or fewer questions (now {questions:,}) lower that"


def stop_line(name: str, reason: str) -> str:
    """That a run ends now, and why."""
    return f"{name.upper()} stops the run: {reason}"


def alert_title(name: str, step: int, *, stop: bool) -> str:
    """What a person is called for."""
    what = "stops the run" if stop else "and the training objective part ways"
    return f"{name.upper()} {what} at step {step}"


def between(name: str, other: str, step: int, change: Change, since: int) -> str:
    """How another run stands to this one, on the same questions; `since` is the first of the looks that all say so."""
    told = f"At step {step:,}, {other} against {name}: {change.told('')}"
    if change.still or change.direction not in ("higher", "lower") or since == step:
        return f"{told}."
    return f"{told}. So at every look since step {since:,}, each taken by itself."


# ---- when it has run -------------------------------------------------------------------------------------


def closing_line(
    name: str,
    record: Record,
    summary: Summary,
    path: Path,
    *,
    kept: bool | None = None,
    unwritten: int = 0,
    refused: str | None = None,
) -> str:
    """The last word on a run.

    Args:
        summary: of the record, see `look.summary`.
        path: of the record's file.
        kept: whether there is a checkpoint of the best look, `None` where none was asked for.
        unwritten, refused: evaluations that are not in the file, and what the disk said.
    """
    where = f"Record: {path}{_gaps(record, unwritten, refused)}"
    start, last = summary.start, summary.last
    if start is None or last is None:
        return f"{name.upper()}: {_nothing_measured(record)}. {where}"
    first = record.evaluations[0].step
    if len(record.evaluations) == 1 and _skips(record):
        return f"{name.upper()}: {_failed(record, f'ONLY STEP {first} WAS MEASURED, the other')}. {where}"
    change = change_of(record.evaluations[-1].metrics, name)
    since = " since the start" if first == 0 else f" since step {first}"
    told = f"{change.told(since)}; " if change is not None else ""
    pairs = pair_accuracy_words(
        record.evaluations[-1].metrics.get(f"{name}/pair_accuracy"), [len(one.votes) for one in record.run.questions]
    )
    levels = f"start {fixed(start)}, last {fixed(last)}{f', {pairs}' if pairs else ''}"
    found = f"{told}{levels}, {best_words(summary, len(record.evaluations), kept)}{_failures(record)}"
    memory = memory_words(record.evaluations[-1].metrics, name, str(record.run.config.get("cutoff")))
    found += f". By the cutoff: {memory}" if memory else ""
    return f"{name.upper()}: {found}. {where}"


def next_line(path: Path) -> str:
    """What to do when a run is over."""
    run = shlex.quote(str(path))
    return f"Next: hre report {run} (one page), hre compare {run} (every look, and where each stop rule ends the run)"


def best_words(summary: Summary, looks: int, kept: bool | None = None) -> str:
    """The highest look, and what it is worth: the highest of several noisy ones is too high by itself."""
    step, best = summary.best_step, fixed(math.nan if summary.best is None else summary.best)
    there = f", kept in checkpoint-{step}" if kept else ", NO CHECKPOINT of it is kept" if kept is False else ""
    if summary.beats_start:
        fair = summary.best_fair
        worth = f" ({fixed(fair)} without the luck of the pick)" if fair is not None else ""
        return f"highest {best} at step {step}{worth}{there}"
    if summary.best == summary.start:
        return "no look is higher than the start"
    luck = f"no more than picking the luckiest of {looks} looks gives"
    return f"highest {best} at step {step}, {luck}{there if kept else ''}"


def pooled_words(summary: Summary) -> str:
    """The best look of the curve pooled over neighbours; empty where that is not known, or is the start's."""
    if summary.pooled is None or summary.pooled_step is None or not summary.beats_start:
        return ""
    worth = f" ({fixed(summary.pooled_fair)} without the luck of the pick)" if summary.pooled_fair is not None else ""
    return (
        f"of the curve pooled over neighbouring looks, which noise moves less, the highest is {fixed(summary.pooled)} "
        f"at step {summary.pooled_step}{worth}"
    )


def _failures(record: Record) -> str:
    failed = len(_skips(record))
    return f", {failed} of {failed + len(record.evaluations)} evaluations failed" if failed else ""


def _nothing_measured(record: Record) -> str:
    if not _skips(record):
        return "nothing was measured, no evaluation has a score"
    return _failed(record, "NOTHING WAS MEASURED, all")


def _failed(record: Record, what: str) -> str:
    """Of a run whose evaluations have failed what is wrong comes first."""
    skips = _skips(record)
    return f"{what} {len(skips)} evaluations failed. The last said: {skips[-1].reason}"


def _gaps(record: Record, unwritten: int, refused: str | None) -> str:
    """What the file on the disk lacks of the run."""
    told = {step for event in record.events for step in event.lost or ()}
    # The one that was resumed at may have been measured again.
    lost = sorted(told - {look.step for look in record.evaluations})
    gaps = f"; it LACKS the looks at steps {', '.join(map(str, lost))}, lost before a resume" if lost else ""
    if unwritten:
        gaps += f"; {unwritten} evaluations ARE NOT IN IT, the disk refused them: {refused}"
    return gaps


def _skips(record: Record) -> list[Event]:
    return [event for event in record.events if event.kind == "skipped"]
