"""The training data as it lies on the disk: texts and token ids, read without a trace, and no media decoded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


class TrainingRows:
    """The rows of a map-style `datasets.Dataset`, with the columns that can hold text or token ids and no others.

    Columns are told by their feature type, not by their name. Images, audio and the like inside a column that also
    holds text are None. The dataset itself is not touched.

    Raises:
        ValueError: the data cannot be read without a trace (a stream, a transform, another class), or no column holds
            text or token ids; says which.
    """

    def __init__(self, dataset: Any) -> None:
        features = getattr(dataset, "features", None)
        if not (hasattr(dataset, "with_format") and hasattr(dataset, "__len__") and features):
            raise ValueError(f"it is a {type(dataset).__name__}, only a map-style datasets.Dataset is read")
        if getattr(dataset, "format", {}).get("type") == "custom":
            raise ValueError("it has a transform, which may draw random numbers")
        self.features = {name: feature for name, feature in features.items() if _holds_text(feature)}
        self.column_names = list(self.features)
        if not self.features:
            raise ValueError(f"none of its columns ({', '.join(features)}) holds text or token ids")
        # Arrow is how the rows lie on the disk: nothing is decoded on the way.
        self._table = dataset.select_columns(self.column_names).with_format("arrow")

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, row: int) -> dict[str, Any]:
        (raw,) = self._table[[row]].to_pylist()
        return {name: value_of(raw[name], feature) for name, feature in self.features.items()}


def texts(value: Any, tokenizer: Any) -> Iterator[str]:
    """Every text in a value of a row.

    Strings at any depth, lists of strings as one text, lists of token ids decoded.
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts(item, tokenizer)
    elif isinstance(value, list) and value:
        if _all(value, str):
            yield " ".join(value)
        elif _all(value, int):
            yield _decoded(value, tokenizer)
        else:
            for item in value:
                yield from texts(item, tokenizer)


def _all(values: list[Any], kind: type) -> bool:
    return all(type(value) is kind for value in values)


def _decoded(ids: list[int], tokenizer: Any) -> str:
    """The text of token ids; without what is no token (-100 of ignored labels), and of masks nothing."""
    if tokenizer is None or max(ids) <= 1:
        return ""
    known = [token for token in ids if 0 <= token < len(tokenizer)]
    return str(tokenizer.decode(known))


def _holds_text(feature: Any, *, listed: bool = False) -> bool:
    """Whether a `datasets` feature can hold text, or a list of whole numbers; a single number is no token."""
    if isinstance(feature, Mapping):
        return any(_holds_text(inner) for inner in feature.values())
    if (inner := _inner(feature)) is not None:
        return _holds_text(inner, listed=True)
    if _stores_json(feature) or type(feature).__name__.startswith("Translation"):
        return True
    dtype = "" if _is_media(feature) else str(getattr(feature, "dtype", ""))
    return "string" in dtype or (listed and dtype.startswith(("int", "uint")) and not hasattr(feature, "names"))


def value_of(raw: Any, feature: Any) -> Any:
    """What lies on the disk as a reader of the dataset gets it, except that media are None."""
    if raw is None or _is_media(feature):
        return None
    if _stores_json(feature):
        return json.loads(raw)
    if isinstance(feature, Mapping) and isinstance(raw, Mapping):
        return {name: value_of(raw.get(name), inner) for name, inner in feature.items()}
    if isinstance(raw, list) and (inner := _inner(feature)) is not None and _nests(inner):
        return [value_of(item, inner) for item in raw]
    return raw


def _inner(feature: Any) -> Any:
    """The feature of a list's items, None for what is no list; older datasets write a list as `[feature]`."""
    return feature[0] if isinstance(feature, (list, tuple)) else getattr(feature, "feature", None)


def _nests(feature: Any) -> bool:
    return isinstance(feature, Mapping) or _inner(feature) is not None or hasattr(feature, "decode_example")


def _stores_json(feature: Any) -> bool:
    return type(feature).__name__ == "Json"


def _is_media(feature: Any) -> bool:
    return hasattr(feature, "decode_example") and not _stores_json(feature)
