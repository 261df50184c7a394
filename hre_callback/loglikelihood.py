"""Batches -> log-likelihoods, through the model's own forward; pure torch, and nothing of the model is changed."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import transformers.modeling_utils
from transformers import PreTrainedModel

from . import distributed
from .batches import Batch, CachedBatch, Targets, packed_mask
from .encoding import Key

# Older releases, the newest for Python 3.10 among them, take positions that all rows share, not a mask per row.
_TAKES_MASKS = hasattr(transformers.modeling_utils, "slice_logits_to_keep")
_CHUNK = (
    1 << 20
)  # logits upcast to float32 at a time (4 MiB), so that no second full-vocabulary tensor exists

Progress = Callable[[int, int], None]  # (forwards done, forwards in all)


class EvaluationError(RuntimeError):
    """An evaluation that failed on some rank, raised alike on all of them; the message names rank and cause.

    Attributes:
        out_of_memory: whether smaller batches may help.
    """

    def __init__(self, message: str, *, out_of_memory: bool = False) -> None:
        super().__init__(message)
        self.out_of_memory = out_of_memory


class ForwardError(RuntimeError):
    """A forward of a sharded model that failed on this rank: the others wait inside theirs, and no one can go on."""


@contextmanager
def no_trace(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards everything is as it was found, also after an exception.

    Restored: the training flag of every submodule one by one (frozen parts may differ from the rest), the random
    state of Python, NumPy, torch and the current accelerator, and the parameters that FSDP2 leaves gathered after
    a forward without gradients.
    """
    flags = [(module, module.training) for module in model.modules()]
    try:
        with random_state_kept(), torch.no_grad():
            model.eval()
            yield
    finally:
        for module, flag in flags:
            module.training = flag
            if reshard := getattr(module, "reshard", None):
                reshard()


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Whatever is drawn inside, the random state of Python, NumPy, torch and the accelerator is as before."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    devices = (
        [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    )
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def innermost(model: torch.nn.Module) -> torch.nn.Module:
    """The model behind its wrappers (PEFT, FSDP, DDP, torch.compile), to look at.

    Never to be called: the hooks of sharded parameters live on the outermost module.
    """
    inner: Any = model
    while True:
        if hasattr(inner, "get_base_model"):
            inner = inner.get_base_model()
        elif isinstance(getattr(inner, "_orig_mod", None), torch.nn.Module):
            inner = inner._orig_mod
        elif isinstance(getattr(inner, "module", None), torch.nn.Module):
            inner = inner.module
        else:
            return inner  # type: ignore[no-any-return]


def forward_parameters(model: torch.nn.Module) -> set[str]:
    """Names that the model's forward accepts, seen through wrappers."""
    inner = innermost(model)
    names = set(inspect.signature(type(inner).forward).parameters)
    # some of transformers' own (LLaVA) hand `use_cache` down unnamed
    return names | {"use_cache"} if isinstance(inner, PreTrainedModel) else names


class Scorer:
    """Calls the model on batches. Holds only what must be looked up once: the forward's signature, the device.

    Args:
        model: called as given, never unwrapped.

    Its methods must run under `no_trace`.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        parameter = next(model.parameters())
        self.device = parameter.device
        self.mask_dtype = parameter.dtype if parameter.dtype.is_floating_point else torch.float32
        self.accepts = forward_parameters(model)
        self.encodes = "decoder_input_ids" in self.accepts  # the question through an encoder (T5, BART)
        self.forwards = 0
        self._meets = distributed.meets_in_forward(model)

    def score(self, batch: Batch | CachedBatch) -> dict[Key, float]:
        """Log-likelihood of every answer of the batch: nats, summed over its continuation, at temperature 1."""
        parts: tuple[torch.Tensor, ...]
        if isinstance(batch, CachedBatch):
            parts = self._encoded_once(batch) if self.encodes else self._cached(batch)
        else:
            parts = (self._encoded_each(batch) if self.encodes else self._rows(batch),)
        totals = _sum_by_answer(parts, batch.targets, len(batch.keys))
        return dict(zip(batch.keys, totals.tolist(), strict=True))

    def idle(self) -> None:
        """The cheapest forward there is, for a rank that has nothing to score while others do."""
        token = torch.zeros(1, 1, dtype=torch.long, device=self.device)
        decoder = {"decoder_input_ids": token} if self.encodes else {}
        self._call(input_ids=token, attention_mask=torch.ones_like(token), use_cache=False, **decoder)

    def _rows(self, batch: Batch) -> torch.Tensor:
        keep = batch.keep.to(self.device)
        inputs: dict[str, Any] = {"input_ids": batch.input_ids.to(self.device), "use_cache": False}
        if batch.attention_mask is not None:
            inputs["attention_mask"] = batch.attention_mask.to(self.device)
        if batch.segments is not None and batch.position_ids is not None:
            inputs["attention_mask"] = packed_mask(batch.segments.to(self.device), self.mask_dtype)
            inputs["position_ids"] = batch.position_ids.to(self.device)
        return self._kept_logits(inputs, keep)

    def _cached(self, batch: CachedBatch) -> tuple[torch.Tensor, torch.Tensor]:
        context_mask = batch.context_mask.to(self.device)
        group_of = batch.group_of.to(self.device)
        last = {"logits_to_keep": 1} if "logits_to_keep" in self.accepts else {}
        context = self._call(
            input_ids=batch.context_ids.to(self.device),
            attention_mask=context_mask,
            position_ids=(context_mask.cumsum(-1) - 1).clamp(min=0),
            use_cache=True,
            **last,
        )
        cache = context.past_key_values
        cache.batch_select_indices(group_of)
        answer_mask = batch.answer_mask.to(self.device)
        starts = context_mask.sum(-1)[group_of, None]
        answers = self._kept_logits(
            {
                "input_ids": batch.answer_ids.to(self.device),
                "attention_mask": torch.cat([context_mask[group_of], answer_mask], dim=1),
                "position_ids": starts + torch.arange(answer_mask.shape[1], device=self.device),
                "past_key_values": cache,
                "use_cache": True,
            },
            batch.keep.to(self.device),
        )
        return context.logits[:, -1], answers

    def _encoded_each(self, batch: Batch) -> torch.Tensor:
        """Encoder-decoder models, every answer with its own question: what the keep mask tells apart.

        row          q q q a a .      kept    . . x x x .
        encoder      q q q            decoder   s a a         s: the decoder's start token
        """
        ids, keep = batch.input_ids.to(self.device), batch.keep.to(self.device)
        columns = torch.arange(keep.shape[1], device=self.device)
        last = keep.int().argmax(dim=1, keepdim=True)  # of the context
        width = int(last.max()) + 1
        kept = columns[: int(keep.sum(1).max())] < keep.sum(1, keepdim=True)
        decoder_ids = torch.full(kept.shape, self._start(), device=self.device)
        decoder_ids[kept & (columns[: kept.shape[1]] > 0)] = ids[keep & (columns > last)]
        logits: torch.Tensor = self._call(
            input_ids=ids[:, :width],
            attention_mask=(columns[:width] <= last).long(),
            decoder_input_ids=decoder_ids,
            use_cache=False,
        ).logits
        return logits[kept]

    def _encoded_once(self, batch: CachedBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Encoder-decoder models, the question through the encoder once; both calls are the whole model's."""
        mask, group_of = batch.context_mask.to(self.device), batch.group_of.to(self.device)
        to_right = mask.argsort(dim=1, descending=True, stable=True)  # padding, as encoders expect it
        mask = mask.gather(1, to_right)
        first = self._call(
            input_ids=batch.context_ids.to(self.device).gather(1, to_right),
            attention_mask=mask,
            decoder_input_ids=torch.full((len(mask), 1), self._start(), device=self.device),
            use_cache=False,
        )
        start = torch.full((len(group_of), 1), self._start(), device=self.device)
        answers = self._call(
            encoder_outputs=(first.encoder_last_hidden_state[group_of],),
            attention_mask=mask[group_of],
            decoder_input_ids=torch.cat([start, batch.answer_ids.to(self.device)], dim=1),
            use_cache=False,
        ).logits
        return first.logits[:, -1], answers[:, 1:][batch.keep.to(self.device)]

    def _start(self) -> int:
        config: Any = self.model.config
        start: int | None = config.decoder_start_token_id
        if start is None:
            start = config.pad_token_id
        if start is None:
            raise ValueError("the model's config names neither a decoder_start_token_id nor a pad token")
        return start

    def _kept_logits(self, inputs: dict[str, Any], keep: torch.Tensor) -> torch.Tensor:
        """(kept, vocabulary) logits where `keep` is set; the others are never made where the model can do that."""
        if "logits_to_keep" not in self.accepts:
            full: torch.Tensor = self._call(**inputs).logits
            return full[keep]
        if (
            not keep.any()
        ):  # single-token answers: one logit nobody reads, so that the call is made all the same
            nothing: torch.Tensor = self._call(**inputs, logits_to_keep=1).logits
            return nothing[:0, 0]
        if _TAKES_MASKS:
            logits: torch.Tensor = self._call(**inputs, logits_to_keep=keep).logits
            return logits
        columns = keep.any(dim=0).nonzero().flatten()  # positions that any row needs
        union: torch.Tensor = self._call(**inputs, logits_to_keep=columns).logits
        return union[keep[:, columns]]

    def _call(self, **inputs: Any) -> Any:
        if "position_ids" not in self.accepts:
            inputs.pop("position_ids", None)
        if "use_cache" not in self.accepts:
            inputs.pop("use_cache", None)
        if "output_router_logits" in self.accepts:  # the auxiliary loss of MoE training cannot read our masks
            inputs["output_router_logits"] = False
        self.forwards += 1  # a forward that fails has been made too
        try:
            return self.model(**inputs)
        except Exception as error:
            if not self._meets:
                raise
            raise ForwardError(
                f"rank {distributed.rank()}: {type(error).__name__} inside a forward of a model whose parameters are "
                "spread over the ranks (FSDP, ZeRO-3). The other ranks wait for this one inside that forward, so the "
                "run ends here instead of hanging. Out of memory: set a smaller HREConfig.token_budget. A layout that "
                f"the model cannot do: HREConfig(layout='padded'). The error: {error}"
            ) from error


def _sum_by_answer(parts: Sequence[torch.Tensor], targets: Targets, answers: int) -> torch.Tensor:
    """(answers,) float64 sums of log-softmax in float32 at the targets, chunked over logits.

    `logsumexp`, because on the CPU `log_softmax` sums a large vocabulary plainly: it is off by 2.5e-6 nats a token,
    always in one direction.

    Args:
        parts: (kept, vocabulary) each; the targets' rows count through all of them.
    """
    device = parts[0].device
    rows, ids, owners = (t.to(device) for t in (targets.rows, targets.ids, targets.owners))
    totals = torch.zeros(answers, dtype=torch.float64, device=device)
    start = 0
    for logits in parts:
        step = max(1, _CHUNK // logits.shape[-1])
        # Written in place: small results between the chunks' buffers kept the heap from using those again.
        normalizers = torch.empty(len(logits), device=device)
        for chunk, normalizer in zip(logits.split(step), normalizers.split(step), strict=True):
            torch.logsumexp(chunk.float(), dim=-1, out=normalizer)
        here = (rows >= start) & (rows < start + len(logits))
        at = rows[here] - start
        logprobs = logits[at, ids[here]].float() - normalizers[at]
        totals.index_add_(0, owners[here], logprobs.double())
        start += len(logits)
    return totals


def score_together(
    model: torch.nn.Module, batches: Sequence[Batch | CachedBatch], progress: Progress | None = None
) -> dict[Key, float]:
    """Score this rank's batches; every rank gets the log-likelihoods of all. Leaves no trace. Collective.

    All ranks make the same number of forwards, whatever their shares and whatever fails, because sharded models
    exchange parameters inside each: who has nothing left to score makes the cheapest one there is.

    Args:
        progress: called after every batch with (forwards done, forwards in all).

    Raises:
        EvaluationError: on every rank, when scoring failed on any.
        ForwardError: on this rank alone, at once, when it failed where nobody can go on.
    """
    forwards = max(distributed.gather(sum(batch.forwards for batch in batches)))
    mine: dict[Key, float] = {}
    error: Exception | None = None
    with no_trace(model):
        scorer = Scorer(model)
        try:
            for batch in batches:
                mine.update(scorer.score(batch))
                if progress is not None:
                    progress(scorer.forwards, forwards)
        except ForwardError:
            raise
        except Exception as e:  # told to every rank, and raised on every rank, below
            error = e.with_traceback(None)  # whose frames hold the tensors that filled the memory
        idle_error = _idle(scorer, forwards)
    error = error or idle_error
    gathered = distributed.gather(
        (mine, distributed.describe(error), isinstance(error, torch.OutOfMemoryError))
    )
    if errors := {r: (text, memory) for r, (_, text, memory) in enumerate(gathered) if text is not None}:
        raise EvaluationError(
            "; ".join(f"rank {r}: {text}" for r, (text, _) in errors.items()),
            out_of_memory=all(memory for _, memory in errors.values()),
        )
    scored = {key: value for share, _, _ in gathered for key, value in share.items()}
    if (twice := sum(len(share) for share, _, _ in gathered) - len(scored)) > 0:
        raise EvaluationError(f"{twice} answers were scored by two ranks")
    return scored


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


def score_batches(model: torch.nn.Module, batches: Iterable[Batch | CachedBatch]) -> dict[Key, float]:
    """Score all batches, leaving no trace on the model; see `Scorer.score`."""
    with no_trace(model):
        scorer = Scorer(model)
        result: dict[Key, float] = {}
        for batch in batches:
            result.update(scorer.score(batch))
        return result
