"""lmsys/mt_bench_human_judgments: experts compare two models' answers, of two to six models a question."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .fields import Fields, LeftOut, Placed, answers, bare, conversation, is_text, label, number

_WON = {"model_a": (1.0, 0.0), "model_b": (0.0, 1.0), "tie": (0.5, 0.5)}


def fits(row: Fields) -> bool:
    """Whether this is a row of it."""
    needed = {"question_id", "model_a", "model_b", "winner", "judge", "conversation_a", "conversation_b", "turn"}
    # A chat of an arena has the same columns, and a time.
    return needed <= row.keys() and "tstamp" not in row


@dataclass(slots=True)
class _Question:
    first: Placed
    asked: list[Fields]
    texts: dict[str, str] = field(default_factory=dict)
    # Judge -> model -> what it won of each of its comparisons.
    won: defaultdict[str, defaultdict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )


def questions(rows: Iterable[Placed], left_out: LeftOut) -> Iterator[Placed]:
    """The first turn: votes are the share of its comparisons that a model's answer won, a tie half.

    Ratings: judge -> the same over that judge's comparisons. In the second turn each model goes on with its own answer,
    so there is no question that they share.
    """
    found: dict[str, _Question] = {}
    for placed in rows:
        judge, winner = label(placed, "judge"), label(placed, "winner").replace("tie (bothbad)", "tie")
        if number(placed, "turn") != 1:
            left_out.add(placed, "comparisons of the second turn")
        elif judge.startswith("gpt"):
            left_out.add(placed, "comparisons by a model")
        elif winner not in _WON:
            left_out.add(placed, "comparisons without a winner")
        else:
            _count(placed, judge, winner, found, left_out)
    for question, one in found.items():
        pooled = {name: [w for judged in one.won.values() for w in judged.get(name, ())] for name in one.texts}
        yield one.first._replace(
            row={
                "id": question or None,
                "question": one.asked,
                "answers": answers(one.texts.values(), (_mean(pooled[name]) for name in one.texts)),
                "ratings": {
                    judge: [_mean(judged[name]) if name in judged else None for name in one.texts]
                    for judge, judged in one.won.items()
                },
            }
        )


def _count(placed: Placed, judge: str, winner: str, found: dict[str, _Question], left_out: LeftOut) -> None:
    sides = [(label(placed, f"model_{side}"), bare(conversation(placed, f"conversation_{side}"))) for side in "ab"]
    if any(len(talk) < 2 or not is_text(talk[:2]) for _, talk in sides):
        left_out.add(placed, "comparisons without two answers in text")
        return
    asked = sides[0][1][:1]
    one = found.setdefault(label(placed, "question_id"), _Question(placed, asked))
    known: dict[str, str] = {name: one.texts.get(name, str(talk[1]["content"])) for name, talk in sides}
    if any(talk[:1] != one.asked or known[name] != talk[1]["content"] for name, talk in sides):
        left_out.add(placed, "comparisons of other texts than before under the same names")
        return
    one.texts |= known
    for (name, _), won in zip(sides, _WON[winner], strict=True):
        one.won[judge][name].append(won)


def _mean(won: list[float]) -> float:
    return sum(won) / len(won)
