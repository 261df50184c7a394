"""Batches -> logits, through the model's own forward; pure torch, and nothing of the model is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .. import distributed
from .architecture import (
    cache_parameter,
    decoder_start,
    float_dtype,
    forward_parameters,
    input_device,
    meets_in_forward,
)
from .attention import SharedQuestion
from .batches import packed_mask
from .errors import ForwardError, NotScorable
from .logprobs import logprobs_at, seen_at
from .outputs import Keeps, Reading, find_logits, learn
from .tensors import Batch, CachedBatch, Kept, Resident


class Scorer:
    """Calls the model on batches. Holds only what must be looked up once: the forward's signature, the device.

    Args:
        model: called as given, never unwrapped.
        reading: what its calls return, see `reading.learn`; learnt at the first batch where it is `None`.
        stays: whether what is moved to the device stays there for the next evaluation.

    Its methods must run under `no_trace`. What `score` and `look` give is on the device, and nothing waits for it.
    """

    def __init__(self, model: torch.nn.Module, reading: Reading | None = None, *, stays: bool = True) -> None:
        self.model = model
        self.device = input_device(model)
        self.mask_dtype = float_dtype(model)
        self.accepts = forward_parameters(model)
        # the question through an encoder (T5, BART)
        self.encodes = "decoder_input_ids" in self.accepts
        self._begins = decoder_start(model) if self.encodes else None
        self.forwards = 0
        self._cache = cache_parameter(self.accepts)
        self._meets = meets_in_forward(model)
        self._reading = reading
        self._attention: SharedQuestion | None = None
        self._stays = stays

    @property
    def reading(self) -> Reading:
        """What a call of the model returns."""
        if self._reading is None:
            raise RuntimeError("Scorer.learn has not been called")
        return self._reading

    def learn(self, ids: Sequence[int]) -> Reading:
        """Look at what calls return, on one short row of the run's own token ids; see `reading.learn`."""
        first = torch.tensor([list(ids)], device=self.device)
        decoder = {"decoder_input_ids": first} if self.encodes else {}
        mask = torch.ones_like(first)

        def call(**more: Any) -> Any:
            return self._call(input_ids=first, attention_mask=mask, use_cache=False, **decoder, **more)

        takes_keep = "logits_to_keep" in self.accepts and not self.encodes
        self._reading = learn(call, self.model, ids, takes_keep=takes_keep)
        return self._reading

    def score(self, batch: Batch | CachedBatch) -> torch.Tensor:
        """(targets,) float32 log-probability of every target of the batch, at temperature 1."""
        parts = self._logits(batch)
        return logprobs_at(parts, *(self._on(batch.targets, name, parts[0].device) for name in ("rows", "ids")))

    def look(self, batch: Batch | CachedBatch) -> torch.Tensor:
        """(targets, 3) float64: the target's logit, logsumexp and sum of all logits at its position.

        The first minus the second is the log-probability. Any change of a position's logits changes the others.
        """
        parts = self._logits(batch)
        return seen_at(parts, *(self._on(batch.targets, name, parts[0].device) for name in ("rows", "ids")))

    def _on(self, owner: Resident, name: str, device: torch.device | None = None) -> torch.Tensor:
        return owner.on(name, self.device if device is None else device, stays=self._stays)

    def _logits(self, batch: Batch | CachedBatch) -> tuple[torch.Tensor, ...]:
        if isinstance(batch, CachedBatch):
            return self._encoded_once(batch) if self.encodes else self._cached(batch)
        return (self._encoded_each(batch) if self.encodes else self._rows(batch),)

    def idle(self) -> None:
        """The cheapest forward there is, for a rank that has nothing to score while others do."""
        token = torch.zeros(1, 1, dtype=torch.long, device=self.device)
        decoder = {"decoder_input_ids": token} if self.encodes else {}
        self._call(input_ids=token, attention_mask=torch.ones_like(token), use_cache=False, **decoder)

    def _rows(self, batch: Batch) -> torch.Tensor:
        inputs: dict[str, Any] = {"input_ids": self._on(batch, "input_ids"), "use_cache": False}
        for name in ("attention_mask", "position_ids"):
            if getattr(batch, name) is not None:
                inputs[name] = self._on(batch, name)
        if batch.segments is not None:
            inputs["attention_mask"] = packed_mask(self._on(batch, "segments"), self.mask_dtype)
        if batch.spans is None:
            return self._kept_logits(inputs, batch.kept)
        self._attention = self._attention or SharedQuestion(self.model)
        with self._attention.serving(batch.spans):
            return self._kept_logits(inputs, batch.kept)

    def _cached(self, batch: CachedBatch) -> tuple[torch.Tensor, torch.Tensor]:
        context_mask, group_of = self._on(batch, "context_mask"), self._on(batch, "group_of")
        if self._cache is None:
            raise ValueError("its forward takes no key-value cache")
        last = {"logits_to_keep": 1} if self.reading.keeps != "all" else {}
        context = self._call(
            input_ids=self._on(batch, "context_ids"),
            attention_mask=context_mask,
            position_ids=(context_mask.cumsum(-1) - 1).clamp(min=0),
            use_cache=True,
            **last,
        )
        cache = context[self._cache] if isinstance(context, dict) else getattr(context, self._cache)
        cache.batch_select_indices(group_of)
        answer_mask = self._on(batch, "answer_mask")
        starts = context_mask.sum(-1)[group_of, None]
        # padding repeats the last position: one beyond the model's table would be an error, on CUDA a fatal one
        positions = starts + (answer_mask.cumsum(-1) - 1).clamp(min=0)
        answers = self._kept_logits(
            {
                "input_ids": self._on(batch, "answer_ids"),
                "attention_mask": torch.cat([context_mask[group_of], answer_mask], dim=1),
                "position_ids": positions,
                self._cache: cache,
                "use_cache": True,
            },
            batch.kept,
        )
        return self._read(context)[:, -1], answers

    def _encoded_each(self, batch: Batch) -> torch.Tensor:
        """Encoder-decoder models, every answer with its own question, see `Sides`."""
        sides = batch.sides
        found = self._call(
            input_ids=self._on(sides, "question_ids"),
            attention_mask=self._on(sides, "question_mask"),
            decoder_input_ids=self._started(self._on(sides, "answer_ids")),
            use_cache=False,
        )
        return self._at(self._read(found), sides.kept, "all")

    def _encoded_once(self, batch: CachedBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Encoder-decoder models, the question through the encoder once; both calls are the whole model's."""
        mask, group_of = self._on(batch, "context_mask"), self._on(batch, "group_of")
        # Padding, as encoders expect it.
        to_right = mask.argsort(dim=1, descending=True, stable=True)
        mask = mask.gather(1, to_right)
        first = self._call(
            input_ids=self._on(batch, "context_ids").gather(1, to_right),
            attention_mask=mask,
            decoder_input_ids=self._started(mask[:, :0]),
            use_cache=False,
        )
        answers = self._call(
            encoder_outputs=(first.encoder_last_hidden_state[group_of],),
            attention_mask=mask[group_of],
            decoder_input_ids=self._started(self._on(batch, "answer_ids")),
            use_cache=False,
        )
        return self._read(first)[:, -1], self._at(self._read(answers), batch.kept, "all")

    def _started(self, ids: torch.Tensor) -> torch.Tensor:
        """Rows behind the decoder's start token."""
        return torch.cat([ids.new_full((len(ids), 1), self._start()), ids], dim=1)

    def _start(self) -> int:
        if self._begins is None:
            raise NotScorable(
                f"{type(self.model).__name__} cannot be scored: nothing says by which token its decoder begins; "
                "expected config.decoder_start_token_id"
            )
        return self._begins

    def _kept_logits(self, inputs: dict[str, Any], kept: Kept) -> torch.Tensor:
        """(kept, vocabulary) logits where they are read; the others are never made where the model can do that."""
        form = self.reading.keeps_of_one if len(kept.mask) == 1 else self.reading.keeps
        if form == "all":
            return self._at(self._read(self._call(**inputs)), kept, form)
        if not kept.count:
            # single-token answers: one logit nobody reads, so that the call is made all the same
            return self._read(self._call(**inputs, logits_to_keep=1))[:0, 0]
        wanted = kept.suffix if form == "suffix" else self._on(kept, form)
        logits = self._read(self._call(**inputs, logits_to_keep=wanted))
        # a mask gives rows of logits; some give them a batch dimension of one
        return (
            self._sized(logits.reshape(-1, logits.shape[-1]), kept) if form == "mask" else self._at(logits, kept, form)
        )

    def _read(self, output: Any) -> torch.Tensor:
        """The logits in what a call returned, with one number for every entry of the vocabulary."""
        logits = find_logits(output, self.reading.vocabulary)
        if logits.shape[-1] != self.reading.vocabulary:
            raise ValueError(
                f"a call gave {logits.shape[-1]} numbers a token where {self.reading.vocabulary} are expected"
            )
        return logits

    def _at(self, logits: torch.Tensor, kept: Kept, form: Keeps) -> torch.Tensor:
        """(kept, vocabulary) of (rows, positions, vocabulary); virtual tokens may stand in front of the rows."""
        rows, length = kept.mask.shape
        width = {"columns": len(kept.columns), "suffix": kept.suffix}.get(form, length)
        if logits.dim() != 3 or logits.shape[0] != rows or logits.shape[1] < width:
            raise ValueError(f"a call gave logits of shape {tuple(logits.shape)} for {(rows, width)} tokens")
        front = logits.shape[1] - width
        if form == "columns":
            if rows == 1:
                return logits[0, front:]
            return logits[self._on(kept, "rows", logits.device), front + self._on(kept, "among_columns", logits.device)]
        places = front + width - length + self._on(kept, "places", logits.device)
        return logits[self._on(kept, "rows", logits.device), places]

    def _sized(self, logits: torch.Tensor, kept: Kept) -> torch.Tensor:
        if len(logits) != kept.count:
            raise ValueError(f"a call gave {len(logits)} rows of logits where {kept.count} were asked for")
        return logits

    def _call(self, **inputs: Any) -> Any:
        for name in ("position_ids", "use_cache", "attention_mask"):
            if name not in self.accepts:
                inputs.pop(name, None)
        if "output_router_logits" in self.accepts:
            # The auxiliary loss of MoE training cannot read our masks.
            inputs["output_router_logits"] = False
        # A forward that fails has been made too.
        self.forwards += 1
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
