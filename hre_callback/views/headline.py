"""The verdict on a run in plain words, from its record. Pure.

The gravest thing that the record supports wins; an open question is said to be open, and one bad look alone is a
warning, not a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..formatting import count, fixed, span
from ..run.advice import advice
from ..run.look import verdict_of
from ..run.words import Change, best_words, change_of, displacement_line, level, pair_accuracy_words, pooled_words
from ..stats.verdict import Verdict
from .reading import Reading, Tone

_GLYPHS: dict[Tone, str] = {"good": "✓", "neutral": "○", "watch": "!", "bad": "✕"}
_Said = tuple[Tone, str] | None


@dataclass(frozen=True, slots=True)
class Headline:
    """The verdict, the same words on page, picture and terminal.

    Attributes:
        tone: colours it.
        title: it in a few words: what has changed for people.
        detail: the numbers behind it: the change first, then the level.
        reasons: why the run is judged so and why it was stopped, a sentence each.
        advice: what to change where something is wrong, else empty.
        notes: what else a reader should know, and is no verdict.
    """

    tone: Tone
    title: str
    detail: str
    reasons: tuple[str, ...] = ()
    advice: str = ""
    notes: tuple[str, ...] = ()

    @property
    def glyph(self) -> str:
        """The tone as a sign, for those who see no colours."""
        return _GLYPHS[self.tone]


def headline(reading: Reading) -> Headline:
    """What the run is for people, in a few words, with the numbers behind it."""
    for look in _VERDICTS:
        said = look(reading)
        if said is not None:
            tone, title = said
            notes = tuple(whose(reading, note) for note in _notes(reading))
            reasons = tuple(_reasons(reading))
            return Headline(tone, whose(reading, title), detail(reading), reasons, _advice(reading), notes)
    raise AssertionError("the last verdict always speaks")


def detail(reading: Reading) -> str:
    """The numbers behind the verdict: what changed and whether it is clear, then the level, each with its interval."""
    now = reading.now
    if now is None:
        failed = reading.events_of("skipped")
        return f"The last said: {failed[-1].reason}" if failed else "No evaluation has a score."
    low, high = reading.metric("ci_low")[now], reading.metric("ci_high")[now]
    ends = f" (95 % {span(low, high)})" if math.isfinite(low + high) else ""
    asked = f"n = {count(reading.n_questions, 'question')}"
    said = level(low, high)
    text = f"HRE is {fixed(reading.score[now])} at step {reading.steps[now]:,}{ends}, {asked}"
    text += f", {said}." if said else "."
    pairs = pair_accuracy_words(reading.metric("pair_accuracy")[now], [len(one.votes) for one in reading.questions])
    text = f"{_sentence(pairs)} {text}" if pairs else text
    change = change_since_start(reading)
    told = f"{_sentence(change.told())} {text}" if change is not None else text
    judged = f" The votes are by {reading.judge}, not by people." if reading.judge else ""
    return whose(reading, told) + judged


def whose(reading: Reading, words: str) -> str:
    """The same words: what is no judgement of people's is never called one."""
    if not reading.judge:
        return words
    return words.replace("people do", "the judge does").replace("people", "the judge").replace("People", "The judge")


def _ended(words: str) -> str:
    return words if not words or words.endswith(".") else f"{words}."


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def change_since_start(reading: Reading) -> Change | None:
    """The change at the last evaluation that has a score; `None` where that is the start, or nothing is known."""
    now = reading.now
    if now is None or now == reading.start:
        return None
    found = change_of(reading.looks[now].metrics, reading.name)
    return found if found is not None and math.isfinite(found.delta) else None


def _reasons(reading: Reading) -> list[str]:
    """Why the run is judged as it is, and why it was stopped."""
    last = _last(reading)
    found = [_ended(last.reason)] if last is not None and last.reason else []
    for stop in reading.events_of("stop"):
        rule = (stop.rule or "a rule").replace("_", " ")
        note = ", a rule without a controlled false-alarm rate" if stop.rule == "patience" else ""
        said = f"Stopped at step {stop.step:,} by “{rule}”{note}. {stop.reason or ''}"
        found.append(said.strip())
    return found


def _advice(reading: Reading) -> str:
    last = _last(reading)
    return "" if last is None else advice(last.cause, reading.looks[-1].proxies)


def _last(reading: Reading) -> Verdict | None:
    return verdict_of(reading.looks[-1]) if reading.looks else None


def _notes(reading: Reading) -> list[str]:
    end, now = reading.finished, reading.now
    found = []
    summary = end.summary if end is not None else None
    if summary is not None and None not in (summary.start, summary.best, summary.best_step) and len(reading.looks) > 1:
        found.append(_sentence(best_words(summary, len(reading.looks))))
        found += [_sentence(pooled)] if (pooled := pooled_words(summary)) else []
    if now is not None and reading.mismatch("displaced")[now] == 1:
        found.append(displacement_line(*(reading.mismatch(f"{end}_shift")[now] for end in ("top", "bottom"))) + ".")
    return found


def _unmeasured(reading: Reading) -> _Said:
    now, failed = reading.now, len(reading.events_of("skipped"))
    if now is None:
        if failed:
            return "bad", f"Nothing measured: every evaluation failed ({failed:,})"
        if reading.finished is not None:
            return "bad", "Nothing measured: no evaluation has a score"
        return "neutral", "Nothing measured yet"
    if now == reading.start:
        if failed:
            step = reading.steps[now]
            return "bad", f"Only step {step:,} is measured: every other evaluation failed ({failed:,})"
        return "neutral", "Only the start is measured so far"
    return None


def _diverged(reading: Reading) -> _Said:
    since = reading.diverged_since
    if since is None or reading.verdict != "mismatch":
        return None
    return "bad", f"Training objective and people part ways since step {since:,}"


def _fallen(reading: Reading) -> _Said:
    rules = {stop.rule: stop.step for stop in reading.events_of("stop")}
    if "drop_from_start" in rules or _fell_for_several_looks(reading):
        return "bad", "Worse for people than at the start"
    if "drop_from_best" in rules:
        return "bad", f"Past its best for people: stopped at step {rules['drop_from_best']:,}"
    return None


def _fell_for_several_looks(reading: Reading) -> bool:
    """Below the start, interval and all, by at least `min_delta`, on as many looks in a row as a stop rule wants."""
    looks = int(reading.config.get("consecutive") or 2)
    both = zip(reading.metric("delta_start"), reading.metric("delta_start_high"), strict=True)
    tail = [(delta, high) for delta, high in both if math.isfinite(delta)][-looks:]
    return len(tail) == looks and all(high < 0 and -delta >= reading.min_delta for delta, high in tail)


def _watched(reading: Reading) -> _Said:
    since, change = reading.diverged_since, change_since_start(reading)
    if since is not None and reading.looks[-1].cause == "push":
        return "watch", f"Watch: training pushes against people (since step {since:,})"
    if since is not None:
        return "watch", f"Watch: HRE falls while training improves (since step {since:,})"
    if reading.verdict == "decoupled":
        return "watch", f"Decoupled: training improves and people gain nothing (since step {reading.decoupled_since:,})"
    if change is not None and change.direction == "lower" and not change.still:
        return "watch", "Watch: lower for people than at the start on the last look"
    return None


def _compared(reading: Reading) -> _Said:
    change = change_since_start(reading)
    if change is None or change.direction == "not known":
        known = reading.start is not None
        return "neutral", "How it compares with the start is not known" if known else "No start to compare with"
    above, below = reading.current("ci_low") > 0, reading.current("ci_high") < 0
    if change.still:
        return "neutral", "HRE has not moved since the start"
    # A rise is good news only for a model that does not still rank against people.
    if change.direction == "higher":
        return "neutral" if below else "good", "Better for people than at the start"
    if change.low >= -reading.min_delta:
        return "good" if above else "neutral", "No worse for people than at the start"
    return "neutral", f"No clear change since the start; a fall of up to {fixed(-change.low)} is possible"


_VERDICTS: tuple[Callable[[Reading], _Said], ...] = (_unmeasured, _diverged, _fallen, _watched, _compared)
