"""Style probes in a model's tokens: rewritten answers that are scored in the rows of their questions.

They stand beside HRE: another prompt, layout, length or answer of HRE's never comes of them. One that does not fit is
left out, and counted; its question stays.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..data.checks import Answer, Question
from ..data.probes import RULES, rewrites
from .encoding import EncodedAnswer, Encoding, Key
from .plan import Group, group_by_context

# Tokenises questions with their answers as HRE's own are.
Encode = Callable[[Sequence[Question]], Encoding]


@dataclass(frozen=True, slots=True)
class _Pair:
    """A rewrite and the answer that it was made of."""

    kind: str
    place: int
    original: Key
    probe: Key


class Probes:
    """The probes of one model's questions.

    Attributes:
        answers: what is scored, by key; the same text for several answers of a question is scored once. Its index goes
            on after those of the question's answers.
        refused: why no probe is scored; empty where they are.
    """

    def __init__(self, questions: Sequence[Question]) -> None:
        self.answers: dict[Key, EncodedAnswer] = {}
        self.refused = ""
        self._questions = questions
        self._pairs: list[_Pair] = []
        self._same: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    def encode(self, own: Mapping[Key, EncodedAnswer], encode: Encode, unfit: Callable[[EncodedAnswer], bool]) -> None:
        """Rewrite and tokenise the answers that HRE scores.

        Args:
            own: HRE's answers.
            unfit: whether the model cannot read an answer's tokens.
        """
        texts: dict[Key, tuple[str, Question]] = {}
        for place, question in enumerate(self._questions):
            known: dict[str, Key] = {}
            for index, answer in enumerate(question.answers):
                original = (question.id, index)
                if original not in own:
                    continue
                found = rewrites(answer.text)
                self._same.update(RULES.keys() - found.keys())
                for kind, text in found.items():
                    probe = known.setdefault(text, (question.id, len(question.answers) + len(known)))
                    texts[probe] = text, question
                    self._pairs.append(_Pair(kind, place, original, probe))
        # Each by itself, so that one which the chat template rewrites takes no other with it.
        asked = [
            Question(str(i), question.question, (Answer(text, 0),)) for i, (text, question) in enumerate(texts.values())
        ]
        try:
            encoded = {answer.key[0]: answer for answer in encode(asked).answers} if asked else {}
        except ValueError as error:
            self.refuse(str(error))
            return
        whole = {i: answer for i, answer in encoded.items() if not answer.truncated and not unfit(answer)}
        keyed = ((key, whole.get(str(i))) for i, key in enumerate(texts))
        self.answers = {key: replace(answer, key=key) for key, answer in keyed if answer is not None}
        self._without(lambda pair: pair.probe not in self.answers)

    def keep_with(self, own: Mapping[Key, EncodedAnswer]) -> None:
        """Leave out those whose answer is scored no more."""
        self._without(lambda pair: pair.original not in own)

    def leave_out_as_large(self, keys: Sequence[Key], own: Mapping[Key, EncodedAnswer]) -> bool:
        """Leave out what is as long as the shortest row that did not fit memory, or longer than all of HRE's own.

        With a rewrite goes its kind for the whole question: means over other answers than before would be no drift.

        Returns:
            whether there was any.
        """
        sizes = {key: _size(answer) for key, answer in {**own, **self.answers}.items()}
        least = min([1 + max(sizes[key] for key in own), *(sizes[key] for key in keys if key in sizes)])
        large = {(p.kind, p.place) for p in self._pairs if sizes[p.probe] >= least}
        self._without(lambda pair: (pair.kind, pair.place) in large)
        return bool(large)

    def refuse(self, why: str) -> None:
        """Score none of them any more."""
        self.refused = why
        self._without(lambda pair: True)

    def differences(
        self, scored: Mapping[Key, float], own: Mapping[Key, EncodedAnswer]
    ) -> dict[str, tuple[float, ...]]:
        """Kind -> (questions,) nats a character of the rewrite minus those of its answer, mean over the answers.

        NaN where a question has none of a kind, or the model's number is not finite.
        """
        sums = {kind: [[] for _ in self._questions] for kind in RULES}  # type: dict[str, list[list[float]]]
        for pair in self._pairs:
            rewritten = scored[pair.probe] / max(1, self.answers[pair.probe].length)
            sums[pair.kind][pair.place].append(rewritten - scored[pair.original] / max(1, own[pair.original].length))
        means = {kind: [math.fsum(row) / len(row) if row else math.nan for row in rows] for kind, rows in sums.items()}
        return {kind: tuple(x if math.isfinite(x) else math.nan for x in row) for kind, row in means.items()}

    def as_dict(self, own: Mapping[Key, EncodedAnswer]) -> dict[str, Any]:
        """For the record, JSON-plain: what is scored and left out by kind, and what it costs.

        Tokens are `naive`, every answer in a row of its own, and `unique`, each question's context and each text once.
        """
        scored = Counter(pair.kind for pair in self._pairs)
        rows = [self.answers[pair.probe] for pair in self._pairs]
        unique = _tokens(group_by_context(list(own.values())))
        both = _tokens(group_by_context([*own.values(), *self.answers.values()]))
        return {
            "kinds": {
                kind: {"answers": scored[kind], "same": self._same[kind], "left_out": self._left_out[kind]}
                for kind in RULES
            },
            "tokens": {"naive": sum(map(_size, rows)), "unique": both - unique},
            "of_hre": {"naive": sum(map(_size, own.values())), "unique": unique},
            "refused": self.refused or None,
        }

    def _without(self, gone: Callable[[_Pair], bool]) -> None:
        """Without some pairs, which are counted, and without what is scored for none of the others."""
        kept = [pair for pair in self._pairs if not gone(pair)]
        self._left_out.update(pair.kind for pair in self._pairs if gone(pair))
        self._pairs = kept
        wanted = {pair.probe for pair in kept}
        self.answers = {key: answer for key, answer in self.answers.items() if key in wanted}


def _size(answer: EncodedAnswer) -> int:
    return len(answer.context) + len(answer.continuation)


def _tokens(groups: Sequence[Group]) -> int:
    return sum(group.tokens for group in groups)
