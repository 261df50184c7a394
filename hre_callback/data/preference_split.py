"""Preference rows in two: pairs to hold out, and training rows that share no prompt and no answer with them.

Sharing is by words (`sameness`), over every turn of the prompt but the system's, and both answers: the same text, or
half of the shorter one's 8-grams. A text, or an 8-gram, that stands with very many prompts (a template, "Yes.") is
nobody's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .adapters.columns import check_columns, renamed
from .adapters.fields import LeftOut, Placed, digest, label
from .adapters.finishing import finished
from .adapters.preferences import SIDES, Pair, fits, read_pair
from .adapters.preferences import questions as as_questions
from .messages import as_messages, texts_of
from .questions import Question, largest_remainder, parse_question
from .sameness import SHARE, grams, normal
from .training_data import texts

Row = Mapping[str, Any]
# A text that stands with more prompts than this, and than this share of all, says nothing about where a row comes from.
_COMMON, _COMMON_SHARE = 20, 0.02
# Rows of which one must be a preference row; the first may hold nulls.
_LOOKED_AT = 100
_INSTRUCTIONS = "system", "developer"


@dataclass(frozen=True, slots=True)
class PreferenceSplit:
    """What is held out, what may be trained on, and what is neither.

    Attributes:
        held_out: questions of two answers, votes 1 and 0; pairs of one prompt are one cluster.
        train: the other rows, as they were given.
        numbers: the places of `train` among the given rows, for `Dataset.select`.
        shared: number of rows that are in neither, because they share a text with what is held out.
        common: number of held-out texts that stand with so many prompts that sharing them does not count.
        no_question: rows that could not be held out, with the reasons; they may be in `train`.
    """

    held_out: tuple[Question, ...]
    train: tuple[Row, ...]
    numbers: tuple[int, ...]
    shared: int
    common: int
    no_question: LeftOut


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row with what it may share: `prompt` names its prompt, `question` is its row in our layout if it has one."""

    number: int
    prompt: str
    topic: str
    question: Placed | None
    texts: Sequence[str]


def split_preferences(
    rows: Iterable[Row],
    *,
    hold_out: int,
    seed: int = 0,
    columns: Mapping[str, str] | None = None,
    where: Callable[[int], str] = "row {}".format,
) -> PreferenceSplit:
    """Hold out pairs, and keep for training what shares nothing with them.

    The draw goes by prompts: all pairs of one are on the same side. It is stratified by the column `topic` where there
    is one, and hashes the prompt with the seed, so it depends on nothing else and mostly stays when `hold_out` grows.

    Args:
        rows (`Iterable[Mapping]`): preference rows, such as a `datasets.Dataset`; `prompt`, `chosen`, `rejected`, in
            texts or messages.
        hold_out (`int`): pairs to hold out. Fewer are where prompts with several pairs do not add up to it.
        seed (`int`, *optional*, defaults to `0`): seed of the draw.
        columns (`Mapping[str, str]`, *optional*): the data's own columns under our names, see `load_questions`.
        where (`Callable`, *optional*): row number -> its place, for messages.

    Raises:
        ValueError: bad arguments, rows that are no preference rows, too few of them, or nothing left to train on.
    """
    for name, value, least in (("hold_out", hold_out, 1), ("seed", seed, None)):
        if type(value) is not int or (least is not None and value < least):
            raise ValueError(f"{name}: found {value!r}, expected an integer" + (f" >= {least}" if least else ""))
    check_columns(columns)
    if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable):
        raise ValueError(f"rows: found {rows!r:.60}, expected preference rows, such as a datasets.Dataset")
    given = list(rows)
    no_question = LeftOut()
    entries = _entries(given, columns, where, no_question)
    usable = [entry for entry in entries if entry.question is not None]
    if len(usable) <= hold_out:
        raise ValueError(
            f"hold_out: found {hold_out:,} of {len(usable):,} pairs that could be held out, expected fewer, so that "
            f"something is left to train on; {no_question.sentence() or f'{len(given):,} rows'}"
        )
    held = _drawn(usable, hold_out, seed)
    if not held:
        least = min(Counter(entry.prompt for entry in usable).values())
        raise ValueError(
            f"hold_out: found {hold_out:,}, and every prompt with its pairs is too much for that or for its topic's "
            f"share (the fewest of a prompt are {least:,}, and they stay together); expected more"
        )
    sharing, common = _sharing(entries, held)
    numbers = tuple(entry.number for entry in entries if entry.number not in held | sharing)
    if not numbers:
        raise ValueError(
            f"nothing is left to train on: of {len(given):,} rows {len(held):,} are held out and all others share a "
            "text with them; expected a smaller hold_out, or rows that differ"
        )
    questions = [entry.question for entry in usable if entry.number in held and entry.question is not None]
    return PreferenceSplit(
        tuple(parse_question(one.row, one.where, number=one.number) for one in questions),
        tuple(given[number] for number in numbers),
        numbers,
        len(sharing),
        common,
        no_question,
    )


def _entries(
    rows: Sequence[Row], columns: Mapping[str, str] | None, where: Callable[[int], str], no_question: LeftOut
) -> list[_Entry]:
    placed = []
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise ValueError(f"{where(number)}: found {row!r:.60}, expected an object")
        placed.append(Placed(where(number), number, row if columns is None else renamed(row, columns)))
    if placed and not any(fits(one.row) for one in placed[:_LOOKED_AT]):
        raise ValueError(
            f"{where(0)}: found the columns {', '.join(map(str, rows[0])) or 'none'}, expected prompt, chosen and "
            "rejected, in texts or messages; others by columns"
        )
    questions = {one.number: one for one in finished(as_questions(placed, no_question), "pair", no_question)}
    return [_entry(one, questions.get(one.number)) for one in placed]


def _entry(placed: Placed, question: Placed | None) -> _Entry:
    pair = read_pair(placed)
    topic = label(placed, "topic") or "all"
    if isinstance(pair, Pair):
        return _Entry(placed.number, digest(pair.question), topic, question, _texts(pair))
    # All that may be a text of a row of which no pair can be made, its prompt among it.
    found = [text for side in (*SIDES, "prompt", "question") for text in texts(placed.row.get(side), None)]
    return _Entry(placed.number, digest(found), topic, None, found)


def _texts(pair: Pair) -> list[str]:
    turns = as_messages(pair.question if isinstance(pair.question, str) else tuple(pair.question))
    asked = tuple(turn for turn in turns if turn["role"] not in _INSTRUCTIONS)
    return [text for text in (*texts_of(asked), pair.chosen, pair.rejected) if text.strip()]


def _drawn(usable: Sequence[_Entry], number: int, seed: int) -> set[int]:
    """The rows to hold out, prompt by prompt in a drawn order, each topic in proportion to its pairs."""
    prompts: defaultdict[str, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    # A prompt has one topic, its first row's: it is not torn apart.
    topics: dict[str, str] = {}
    for entry in usable:
        prompts[topics.setdefault(entry.prompt, entry.topic)][entry.prompt].append(entry.number)
    quotas = largest_remainder(Counter(topics[entry.prompt] for entry in usable), number)
    held: set[int] = set()
    for topic, of_topic in prompts.items():
        room = quotas[topic]
        for prompt in sorted(of_topic, key=lambda prompt: digest([seed, prompt])):
            if len(of_topic[prompt]) <= room:
                held.update(of_topic[prompt])
                room -= len(of_topic[prompt])
    return held


class _HeldOut:
    """The texts that are held out, and with which prompts each, and each of its n-grams, stands."""

    def __init__(self, entries: Iterable[_Entry], limit: int) -> None:
        self._limit = limit
        self.sizes: dict[str, int] = {}
        self.texts_with: defaultdict[int, list[str]] = defaultdict(list)
        for entry in entries:
            for text in entry.texts:
                name = normal(text)
                if name not in self.sizes:
                    found = set(grams(text))
                    self.sizes[name] = len(found)
                    for gram in found:
                        self.texts_with[gram].append(name)
        self._prompts: defaultdict[str | int, set[str]] = defaultdict(set)

    def found_in(self, text: str, prompt: str) -> tuple[str | None, set[int], int]:
        """(the text itself if it is held out, its n-grams that are, the number of its n-grams)."""
        name, all_grams = normal(text), set(grams(text))
        shared = {gram for gram in all_grams if gram in self.texts_with}
        same = name if name in self.sizes else None
        for thing in (*shared, *(() if same is None else (same,))):
            if len(self._prompts[thing]) <= self._limit:
                self._prompts[thing].add(prompt)
        return same, shared, len(all_grams)

    def is_common(self, thing: str | int) -> bool:
        """Whether a text or n-gram stands with more prompts than tells anything."""
        return len(self._prompts.get(thing, ())) > self._limit

    def own_size(self, name: str, common: Counter[str]) -> int:
        """The n-grams of a held-out text that are not common."""
        return self.sizes[name] - common[name]


def _sharing(entries: Sequence[_Entry], held: set[int]) -> tuple[set[int], int]:
    """(rows that share a text with what is held out, number of held-out texts that are too common to count)."""
    limit = max(_COMMON, int(_COMMON_SHARE * len({entry.prompt for entry in entries})))
    known = _HeldOut((entry for entry in entries if entry.number in held), limit)
    prompts = {entry.prompt for entry in entries if entry.number in held}
    found = [(entry, [known.found_in(text, entry.prompt) for text in entry.texts]) for entry in entries]
    common = Counter(name for gram, names in known.texts_with.items() if known.is_common(gram) for name in names)
    sharing = {
        entry.number
        for entry, texts in found
        if entry.number not in held
        and (entry.prompt in prompts or any(_is_shared(known, common, *text) for text in texts))
    }
    return sharing, sum(known.is_common(name) for name in known.sizes)


def _is_shared(known: _HeldOut, common: Counter[str], same: str | None, shared: set[int], size: int) -> bool:
    if same is not None and not known.is_common(same):
        return True
    telling = {gram for gram in shared if not known.is_common(gram)}
    of_texts = Counter(_names(known, telling))
    own = size - (len(shared) - len(telling))
    return any(times >= SHARE * min(own, known.own_size(name, common)) for name, times in of_texts.items())


def _names(known: _HeldOut, telling: Iterable[int]) -> Iterator[str]:
    for gram in telling:
        yield from known.texts_with[gram]
