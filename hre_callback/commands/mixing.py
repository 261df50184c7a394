"""The mixes of a run's checkpoints and its start: found, written, scored, saved."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache

from ..config import HREConfig
from ..data.questions import Question
from ..files import move_whole, nearest_folder, partial_folder
from ..run.checkpoints import claimed_twice, find_checkpoints
from ..run.record import is_record, read_record
from ..run.scores import check_defined
from ..run.soups import Chosen, FloatArray, Mix, choose, cost, singles
from ..scoring.checkpoint import one_sentence
from ..scoring.evaluator import HumanRankEvaluator
from ..scoring.soup import Weights, check_alike, check_start, find_weights, write_mean
from ..scoring.soup_adapters import check_adapter_kind, only_lora, starts_at_zero, write_adapter_mean
from ..stats.significance import known_clusters
from .terminal_output import say

# Says in a saved folder what it is made of.
_MADE_OF = "soup.json"
# Bytes that tokenizer, config and such may take beside the weights.
_BESIDE = 50_000_000
_EXPECTED = (
    "expected the output folder of a run with two or more checkpoint-N folders (save_strategy, save_total_limit)"
)


def whole_checkpoints(run: Path) -> list[Weights]:
    """The run's checkpoints by rising step, whole and alike.

    Raises:
        ValueError: names the run or a checkpoint, and what stands against an average.
    """
    if not run.is_dir():
        raise ValueError(f"{run} is " + ("a file" if run.exists() else "not there") + f"; {_EXPECTED}")
    found = [one for one in find_checkpoints(run) if one.step is not None]
    for step, names in claimed_twice(found).items():
        raise ValueError(f"{run}: step {step} is claimed by {' and '.join(names)}; leave one of them")
    for one in found:
        if one.lacks is not None:
            raise ValueError(f"{run / one.name} is not whole: {one.lacks}; wait until it is, or move it away")
    if len(found) < 2:
        alone = f"holds one checkpoint alone, {found[0].name}" if found else "holds no checkpoint"
        raise ValueError(f"{run} {alone}; {_EXPECTED}")
    weights = [find_weights(one.path, one.name) for one in found]
    for each in weights:
        if each.adapter:
            check_adapter_kind(each)
        check_alike(weights[0], each)
    return weights


def check_room(room: Path, checkpoint: Weights) -> None:
    """An average at a time is written there, and the start if it has to be written anew."""
    needed, free = checkpoint.size + _BESIDE, shutil.disk_usage(room).free
    if free < needed:
        raise ValueError(
            f"{room} has {free / 1e9:.1f} GB free, and an average takes {needed / 1e9:.1f} GB; give a place on another "
            "disk with --out, or with TMPDIR"
        )


@dataclass(frozen=True)
class Origin:
    """The model that training began with.

    Attributes:
        name: `None` where it is not known.
        weights: of a whole model; an adapter's start has none, it adds nothing.
        note: what a person should know of it.
    """

    name: str | None = None
    weights: Weights | None = None
    note: str = ""


def find_origin(run: Path, last: Weights, start: str | None, scratch: Path, load: Callable[[str], Any]) -> Origin:
    """The start as it was given, as the adapter names it, or as the record tells it and this machine has it.

    Raises:
        ValueError: what was given is not what the checkpoints were trained from.
    """
    if last.adapter:
        base = str(last.config.get("base_model_name_or_path"))
        if start is not None:
            raise ValueError(f"--start {start}: the checkpoints are adapters, and their start is {base} without any")
        if only_lora(last) and starts_at_zero(last):
            return Origin(base)
        return Origin(note="The adapters hold more than LoRA that starts at nothing: only averages are tried.")
    if start is not None:
        return Origin(start, _start_weights(start, last, scratch, load))
    if (name := _recorded(run)) is not None:
        try:
            return Origin(name, _start_weights(name, last, scratch, load))
        except ValueError as error:
            return Origin(note=f"The start that the record names is no help ({error}): only averages are tried.")
    return Origin(note="Where training began is not known (--start): only averages are tried.")


def _start_weights(start: str, last: Weights, scratch: Path, load: Callable[[str], Any]) -> Weights:
    try:
        weights = find_weights(Path(start), start)
        check_start(last, weights)
        return weights
    except ValueError:
        # Pickles, other names, a hub id: read by the loader, and written as the checkpoints were.
        copy, model = scratch / "start", load(start)
    with one_sentence(start, True, f"a model that can be written to {scratch.parent}"):
        model.save_pretrained(copy)
    weights = find_weights(copy, start)
    check_start(last, weights)
    return weights


def _recorded(run: Path) -> str | None:
    """The hub id in the run's record, if this machine has that model; a folder's place is not in a record."""
    name = read_record(run).run.model if is_record(run) else None
    if name is None or name.count("/") != 1:
        return None
    try:
        return name if isinstance(try_to_load_from_cache(name, "config.json"), str) else None
    # Whatever stands there, it is no hub id.
    except ValueError:
        return None


@dataclass
class Mixes:
    """Scores mixes, each once and as it would be saved, and saves one.

    Attributes:
        scored: (questions,) per-question r of what was scored, in that order.
    """

    checkpoints: Sequence[Weights]
    origin: Origin
    questions: Sequence[Question]
    config: HREConfig
    scratch: Path
    load: Callable[[Path], tuple[Any, Any]]
    tell: Callable[[str], object] = print
    scored: dict[Mix, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:

        self.clusters = known_clusters([question.cluster for question in self.questions])
        self._asked: tuple[Any, ...] | None = None

    def choose(self, soups: Sequence[Mix], *, greedy: bool) -> Chosen:
        """Say what it costs, score all, and choose."""
        start = None if self.origin.name is None else Mix("the start", (0.0,) * len(self.checkpoints), 1.0)
        alone = singles([one.name for one in self.checkpoints])
        soups = [mix for mix in soups if start is not None or not mix.start]
        models = len(alone) + len(soups) + (start is not None)
        say(*filter(None, [self.origin.note, cost(models, len(self.questions), len(alone) if greedy else 0)]))
        return choose(
            self._score, alone, soups, start=start, greedy=greedy, clusters=self.clusters, seed=self.config.seed
        )

    def save(self, mix: Mix, out: Path, about: dict[str, Any]) -> None:
        """Write it into a new folder, whole or not at all."""
        parts = {one.name: weight for one, weight in zip(self.checkpoints, mix.weights, strict=True) if weight}
        with partial_folder(nearest_folder(out)) as room:
            self._write(mix, room)
            told = json.dumps({"made_of": {**parts, **({"start": mix.start} if mix.start else {})}, **about}, indent=2)
            (room / _MADE_OF).write_text(told + "\n", encoding="utf-8")
            move_whole(room, out)

    def _score(self, mix: Mix) -> FloatArray:

        if mix not in self.scored:
            self.tell(f"Model {len(self.scored) + 1}: {mix.name}")
            if not mix.start and max(mix.weights) == 1:
                self.scored[mix] = self._result(self.checkpoints[mix.weights.index(1)].folder, mix.name)
            else:
                with partial_folder(self.scratch) as room:
                    self._write(mix, room)
                    self.scored[mix] = self._result(room, mix.name)
        return self.scored[mix]

    def _result(self, folder: Path, name: str) -> FloatArray:

        try:
            model, tokenizer = self.load(folder)
            evaluator = HumanRankEvaluator(self.questions, tokenizer, self.config)
            result = evaluator.evaluate(model)
        # Whatever a model's own forward may raise.
        except Exception as error:
            raise ValueError(f"{name}: {str(error).replace(str(folder), name)}") from error
        check_defined(result, "the questions")
        asked = (evaluator.rendering, evaluator.scores_are_rewards)
        if self._asked is not None and asked != self._asked:
            raise ValueError(f"{name}: its chat template asks the questions in other words than those before")
        self._asked = asked
        return result.per_question["pearson"]

    def _write(self, mix: Mix, folder: Path) -> None:

        last = self.checkpoints[-1]
        parts = [(one, weight) for one, weight in zip(self.checkpoints, mix.weights, strict=True) if weight]
        try:
            if last.adapter:
                write_adapter_mean(parts or [(last, 0.0)], folder)
                return
            if self.origin.weights is not None and mix.start:
                parts.append((self.origin.weights, mix.start))
            write_mean(parts, last, folder)
        except OSError as error:
            if error.filename is not None and not str(error.filename).startswith(str(folder)):
                # Something that is read: a checkpoint that was deleted meanwhile.
                raise
            raise OSError(error.errno, error.strerror, f"{self.scratch.parent} ({mix.name})") from error
