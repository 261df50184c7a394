"""What computes the attention of spans: torch's scaled dot product one by one, on accelerators one call for all."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention

from .spans import Call, Span, Spans

_HALF = (torch.float16, torch.bfloat16)
# Of a kernel's outputs, in units of its dtype's precision, for values about one; a wrong mask is off by about one.
_STEPS = 16
# Keys with fewer heads than queries, without copies: from torch 2.5 on.
_SHARES_HEADS = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 5)


class Asked(NamedTuple):
    """What a layer asks of attention beside queries, keys and values.

    Attributes:
        scale: of the products.
        window: how many of the last tokens, itself among them, a token sees; 0 for all.
        softcap: products are bent into (-softcap, softcap).
        sinks: (heads,) a product with nothing, which takes its share of the softmax.
    """

    scale: float
    window: int = 0
    softcap: float | None = None
    sinks: torch.Tensor | None = None


@dataclass
class Work:
    """The spans of one forward, and what all its layers share: made by the first of them."""

    spans: Spans
    masks: dict[tuple[int, int, int], torch.Tensor] = field(default_factory=dict)
    biases: dict[tuple[int, int, int], torch.Tensor] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def mask(self, queries: int, keys: int, window: int, device: torch.device) -> torch.Tensor:
        """(queries, keys) True where a query, aligned with the keys at their ends, may look."""
        found = self.masks.get((queries, keys, window))
        if found is None:
            found = torch.ones(queries, keys, dtype=torch.bool, device=device).tril_(keys - queries)
            if window:
                found.triu_(keys - queries - window + 1)
            self.masks[queries, keys, window] = found
        return found

    def bias(self, queries: int, keys: int, window: int, like: torch.Tensor) -> torch.Tensor:
        """The same to be added to products: 0 where a query may look, else minus infinity; what torch makes of it."""
        found = self.biases.get((queries, keys, window))
        if found is None or found.dtype != like.dtype or found.device != like.device:
            mask = self.mask(queries, keys, window, like.device)
            found = like.new_zeros(queries, keys).masked_fill_(~mask, -math.inf)
            self.biases[queries, keys, window] = found
        return found

    def calls_on(self, device: torch.device) -> list[Call]:
        """See `Spans.calls`."""
        if not self.calls:
            self.calls = [call.on(device) for call in self.spans.calls]
        return self.calls


def attend(work: Work, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, asked: Asked) -> torch.Tensor:
    """Attention of all spans, by the fastest kernel that is right here.

    Args:
        query, key, value: (rows, heads, length, head size); of keys and values there may be fewer heads.

    Returns:
        (rows, length, heads, head size), zero for padding.
    """
    if torch.is_autocast_enabled(query.device.type):
        # what torch does for its own attention
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = (t.to(dtype) for t in (query, key, value))
    capped, sinks = asked.softcap is not None, asked.sinks is not None
    if query.device.type == "cuda" and query.dtype in _HALF:
        sizes = (query.shape[1], key.shape[1], query.shape[-1], value.shape[-1])
        if together_is_right(query.device, query.dtype, sizes, bool(asked.window), capped, sinks):
            return together(work, query, key, value, asked)
    return one_by_one(work, query, key, value, asked)


def one_by_one(work: Work, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, asked: Asked) -> torch.Tensor:
    """See `attend`; works everywhere."""
    groups = query.shape[1] // key.shape[1]
    plain = asked.softcap is None and asked.sinks is None
    # masks and shared heads together have a fast kernel on the CPU only
    if groups > 1 and not (plain and query.device.type == "cpu" and _SHARES_HEADS):
        key, value = (t.repeat_interleave(groups, dim=1) for t in (key, value))
    rows, heads, length, _ = query.shape
    out = query.new_zeros(rows, length, heads, value.shape[-1])
    for span in work.spans.spans:
        row, here = slice(span.row, span.row + 1), slice(span.start, span.end)
        k, v = (_seen(t[row], span, asked.window) for t in (key, value))
        found = (_plain if plain else _written_out)(work, query[row, :, here], k, v, asked)
        out[row, here] = found.transpose(1, 2)
    return out


def _seen(t: torch.Tensor, span: Span, window: int) -> torch.Tensor:
    """What a span looks at, without what lies before the window of its first token."""
    own = t[:, :, span.start : span.end]
    first = max(span.first, span.last - window + 1) if window else span.first
    return own if first >= span.last else torch.cat([t[:, :, first : span.last], own], dim=2)


def _plain(work: Work, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, asked: Asked) -> torch.Tensor:
    queries, keys = q.shape[2], k.shape[2]
    shares: dict[str, Any] = {"enable_gqa": True} if q.shape[1] != k.shape[1] else {}
    window = asked.window if keys > asked.window else 0
    if queries == keys and not window:
        return scaled_dot_product_attention(q, k, v, is_causal=True, scale=asked.scale, **shares)
    # on the CPU a mask is made into this anew in every layer
    made = work.bias(queries, keys, window, q) if q.device.type == "cpu" else work.mask(queries, keys, window, q.device)
    return scaled_dot_product_attention(q, k, v, attn_mask=made, scale=asked.scale, **shares)


def _written_out(work: Work, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, asked: Asked) -> torch.Tensor:
    """With a cap or sinks, which torch's own attention lacks; softmax in float32, as the models' own code has it."""
    queries, keys = q.shape[2], k.shape[2]
    products = (q @ k.transpose(-1, -2)).float() * asked.scale
    if asked.softcap is not None:
        products = torch.tanh(products / asked.softcap) * asked.softcap
    mask = work.mask(queries, keys, asked.window if keys > asked.window else 0, q.device)
    products = products.masked_fill(~mask, -math.inf)
    if asked.sinks is not None:
        nothing = asked.sinks.float().view(1, -1, 1, 1).expand(1, q.shape[1], queries, 1)
        products = torch.cat([products, nothing], dim=-1)
    return products.softmax(-1)[..., :keys].to(v.dtype) @ v


def together(work: Work, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, asked: Asked) -> torch.Tensor:
    """See `attend`; flash attention for sequences of unequal lengths, a call for (nearly) all spans."""
    rows, heads, length, _ = query.shape
    q, k, v = (t.transpose(1, 2).flatten(0, 1) for t in (query, key, value))
    out = query.new_zeros(rows * length, heads, value.shape[-1])
    for call in work.calls_on(query.device):
        found = _flash(q[call.queries], k[call.keys], v[call.keys], call, asked)
        out.index_copy_(0, call.queries, found)
    return out.view(rows, length, heads, value.shape[-1])


def _flash(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, call: Call, asked: Asked) -> torch.Tensor:
    window = (asked.window - 1 if asked.window else -1, 0)
    borders = (call.query_borders, call.key_borders, call.most_queries, call.most_keys)
    if asked.softcap is not None:
        from flash_attn import flash_attn_varlen_func

        return flash_attn_varlen_func(  # type: ignore[no-any-return]
            q,
            k,
            v,
            *borders,
            softmax_scale=asked.scale,
            causal=True,
            window_size=window,
            softcap=asked.softcap,
        )
    from torch.nn.attention.varlen import AuxRequest, varlen_attn

    # one split, so that no number depends on what else is in the batch
    more: dict[str, Any] = {
        "scale": asked.scale,
        "window_size": window,
        "enable_gqa": q.shape[1] != k.shape[1],
    }
    found, sums = varlen_attn(q, k, v, *borders, return_aux=AuxRequest(lse=True), num_splits=1, **more)
    if asked.sinks is None:
        return found
    # the sink's share of the softmax is taken from all keys alike
    share = torch.sigmoid(sums - asked.sinks.float()[:, None])
    return (found * share.transpose(0, 1)[..., None]).to(found.dtype)


@lru_cache
def together_is_right(
    device: torch.device,
    dtype: torch.dtype,
    sizes: tuple[int, int, int, int],
    windowed: bool,
    capped: bool,
    sinks: bool,
) -> bool:
    """Whether the kernel for all spans is there for such layers and gives what `one_by_one` gives: tried, once.

    Args:
        sizes: heads, heads of keys and values, head size, head size of values.
    """
    heads, shared, size, value_size = sizes
    spans = (Span(0, 0, 0, 0, 9), Span(0, 0, 9, 9, 14), Span(0, 0, 9, 14, 26))
    asked = Asked(
        0.5 * size**-0.5,
        6 if windowed else 0,
        2.0 if capped else None,
        torch.zeros(heads, device=device) if sinks else None,
    )

    def numbers(count: int, width: int, speed: float) -> torch.Tensor:
        places = torch.arange(count * 26 * width, device=device, dtype=torch.float32)
        return torch.sin(speed * places).view(1, count, 26, width)

    made = (numbers(heads, size, 0.7), numbers(shared, size, 1.3), numbers(shared, value_size, 2.1))
    with torch.autocast(device.type, enabled=False):
        exact = one_by_one(Work(Spans((1, 26), spans)), *made, asked)
        try:
            query, key, value = (t.to(dtype) for t in made)
            found = together(Work(Spans((1, 26), spans)), query, key, value, asked)
        except (ImportError, RuntimeError, TypeError, NotImplementedError, AssertionError):
            # no such kernel in this torch, on this card or for these sizes: one by one is right everywhere
            return False
    return bool((found.float() - exact).abs().max() <= _STEPS * torch.finfo(dtype).eps)
