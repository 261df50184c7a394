"""Logits -> log-probabilities of the tokens that stand there, without a second tensor of the whole vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

# Logits upcast to float32 at a time (4 MiB), so that no second full-vocabulary tensor exists.
_CHUNK = 1 << 20


def logprobs_at(parts: Sequence[torch.Tensor], rows: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """(targets,) log-softmax in float32 at the targets, chunked over logits; nothing that a device must be asked for.

    `logsumexp`, because on the CPU `log_softmax` sums a large vocabulary plainly: it is off by 2.5e-6 nats a token,
    always in one direction.

    Args:
        parts: (kept, vocabulary) each; `rows` count through all of them.
        rows, ids: (targets,), see `Targets`.
    """

    def read(logits: torch.Tensor) -> list[torch.Tensor]:
        # Written in place: small results between the chunks' buffers kept the heap from using those again.
        normalizers = torch.empty(len(logits), device=logits.device)
        for chunk, normalizer in _chunks(logits, normalizers):
            torch.logsumexp(chunk.float(), dim=-1, out=normalizer)
        return [normalizers]

    target, normalizer = _at_targets(parts, rows, ids, read)
    return target.float() - normalizer


def seen_at(parts: Sequence[torch.Tensor], rows: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """(targets, 3) float64, see `Scorer.look`; as `logprobs_at`."""

    def read(logits: torch.Tensor) -> list[torch.Tensor]:
        normalizers, sums = torch.empty(2, len(logits), dtype=torch.float64, device=logits.device)
        for chunk, normalizer, total in _chunks(logits, normalizers, sums):
            normalizer.copy_(chunk.float().logsumexp(-1))
            total.copy_(chunk.double().sum(-1))
        return [normalizers, sums]

    return torch.stack([found.double() for found in _at_targets(parts, rows, ids, read)], dim=1)


def _chunks(logits: torch.Tensor, *results: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    step = max(1, _CHUNK // logits.shape[-1])
    return zip(logits.split(step), *(result.split(step) for result in results), strict=True)


def _at_targets(
    parts: Sequence[torch.Tensor],
    rows: torch.Tensor,
    ids: torch.Tensor,
    read: Callable[[torch.Tensor], list[torch.Tensor]],
) -> list[torch.Tensor]:
    """(targets,) the targets' own logits, and what `read` gives for each row of them.

    A target of another part takes its number from any row of this one, and is then passed over.
    """
    found: list[torch.Tensor] = []
    start = 0
    for logits in parts:
        end = start + len(logits)
        if end > start:
            at = (rows - start).clamp(0, len(logits) - 1)
            here = [logits[at, ids], *(values[at] for values in read(logits))]
            inside = (rows >= start) & (rows < end)
            found = [torch.where(inside, *pair) for pair in zip(here, found, strict=True)] if found else here
        start = end
    return found
