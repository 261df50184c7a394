"""Batches -> log-likelihoods of all ranks: the same number of forwards on each, one failure for all, no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch

from .. import distributed
from .encoding import Key
from .errors import EvaluationError, ForwardError, NotScorable
from .limits import watched_tables
from .no_trace import State, no_trace
from .outputs import Reading
from .scorer import Scorer
from .tensors import Batch, CachedBatch

# (forwards done, forwards in all).
Progress = Callable[[int, int], None]
# Of all batches of a plan, places whose tensors stay on the device between evaluations: 40 bytes each, 40 MiB at most.
_STAY = 1 << 20


def score_together(
    model: torch.nn.Module,
    batches: Sequence[Batch | CachedBatch],
    reading: Reading,
    progress: Progress | None = None,
) -> dict[Key, float]:
    """Score this rank's batches; every rank gets the log-likelihoods of all. Leaves no trace. Collective.

    Args:
        reading: see `learn_together`.
        progress: called after every batch with (forwards done, forwards in all).

    Raises:
        EvaluationError: on every rank, when scoring failed on any.
        ForwardError: on this rank alone, at once, when it failed where nobody can go on.
    """
    mine = _forward_together(model, batches, reading, Scorer.score, progress)
    sums = [_sum_by_answer(found, batch) for found, batch in zip(mine, batches, strict=True)]
    gathered = distributed.gather({key: value for share in sums for key, value in share.items()})
    scored = {key: value for share in gathered for key, value in share.items()}
    if (twice := sum(map(len, gathered)) - len(scored)) > 0:
        raise EvaluationError(f"{twice} answers were scored by two ranks")
    return scored


def look_together(
    model: torch.nn.Module, batches: Sequence[Batch | CachedBatch], reading: Reading
) -> list[torch.Tensor]:
    """`Scorer.look` at this rank's batches, each rank's its own; on the CPU. Collective; raises as `score_together`."""
    return _forward_together(model, batches, reading, Scorer.look, None)


def learn_together(model: torch.nn.Module, ids: Sequence[int]) -> tuple[Reading, list[int]]:
    """What calls of the model return, and how many tokens its tables of positions can place.

    See `reading.learn` and `limits.watched_tables`. Leaves no trace. Collective: the same ids on all ranks.

    Raises:
        ValueError: HRE cannot score such a model.
        EvaluationError: the call failed.
    """
    found: list[Reading] = []
    with no_trace(model), watched_tables(ids) as tables:
        try:
            found.append(Scorer(model).learn(ids))
            told = _told(None)
        except ForwardError:
            raise
        except Exception as error:
            told = _told(error)
    _raise_together([(*one, ()) for one in distributed.gather(told)])
    return found[0], sorted(set(tables))


def _forward_together(
    model: torch.nn.Module,
    batches: Sequence[Batch | CachedBatch],
    reading: Reading,
    read: Callable[[Scorer, Batch | CachedBatch], torch.Tensor],
    progress: Progress | None,
) -> list[torch.Tensor]:
    """`read` of every batch of this rank, on the CPU; they are fetched together, once, so that no batch is waited for.

    All ranks make the same number of forwards, whatever their shares and whatever fails, because sharded models
    exchange parameters inside each: who has nothing left to score makes the cheapest one there is.
    """
    forwards = max(distributed.gather(sum(batch.forwards for batch in batches)))
    found: list[torch.Tensor] = []
    fetched: list[torch.Tensor] = []
    error: Exception | None = None
    with no_trace(model) as state:
        scorer = Scorer(model, reading, stays=sum(batch.tokens for batch in batches) <= _STAY)
        try:
            for batch in _each_from_the_same_state(batches, state):
                found.append(read(scorer, batch))
                if progress is not None:
                    progress(scorer.forwards, forwards)
            fetched = _fetch(found)
        except ForwardError:
            raise
        except Exception as e:
            # Told to every rank, and raised on every rank, below.
            # its frames hold the tensors that filled the memory
            error = e.with_traceback(None)
        idle_error = _idle(scorer, forwards)
    error = error or idle_error
    failed = batches[len(found)].keys if error is not None and len(found) < len(batches) else ()
    _raise_together(distributed.gather((*_told(error), failed)))
    return fetched


def _fetch(found: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The same on the CPU, by one copy."""
    return list(torch.cat(list(found)).cpu().split([len(part) for part in found])) if found else []


def _sum_by_answer(logprobs: torch.Tensor, batch: Batch | CachedBatch) -> dict[Key, float]:
    """Log-likelihood of every answer of the batch: nats, summed over its continuation, in its order in float64.

    On the CPU, where sums have an order: the same bits every time.
    """
    totals = torch.zeros(len(batch.keys), dtype=torch.float64)
    totals.index_add_(0, batch.targets.owners, logprobs.double())
    return dict(zip(batch.keys, totals.tolist(), strict=True))


def _each_from_the_same_state(batches: Iterable[Batch | CachedBatch], state: State) -> Iterable[Batch | CachedBatch]:
    """The batches; where one forward changes what the model keeps (dynamic RoPE), it is put back before the next.

    So no number depends on which rows came before. Looked for after the first batch only: it takes time.
    """
    keeps_state = False
    for number, batch in enumerate(batches):
        if number == 1 or keeps_state:
            keeps_state = state.restore()
        yield batch


def _told(error: Exception | None) -> tuple[str | None, bool, bool]:
    """An error as text, whether memory was short, whether the model is one that cannot be scored at all."""
    return (
        distributed.describe(error),
        isinstance(error, torch.OutOfMemoryError),
        isinstance(error, NotScorable),
    )


def _raise_together(told: Sequence[tuple[str | None, bool, bool, Sequence[Key]]]) -> None:
    failed = {r: one for r, one in enumerate(told) if one[0] is not None}
    if not failed:
        return
    if refused := next((text for text, _, refused, _ in failed.values() if refused), None):
        raise ValueError(refused.removeprefix(f"{NotScorable.__name__}: "))
    raise EvaluationError(
        "; ".join(f"rank {r}: {text}" for r, (text, *_) in failed.items()),
        out_of_memory=all(memory for _, memory, _, _ in failed.values()),
        batches=[keys for *_, keys in failed.values() if keys],
    )


def _idle(scorer: Scorer, forwards: int) -> Exception | None:
    """Make the forwards that are missing. One process has none to make, whatever failed."""
    try:
        while distributed.world_size() > 1 and scorer.forwards < forwards:
            scorer.idle()
    except ForwardError:
        raise
    except Exception as error:
        return error
    return None
