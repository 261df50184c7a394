"""Offline W&B runs in a sealed folder, and what they hold, read from the file itself.

The `.wandb` file is a LevelDB log of protobuf records. Neither is a documented API; `test_tracking` holds the
reader against `wandb leet inspect`.
"""

from __future__ import annotations

import json
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_BLOCK, _HEAD = 32768, 7


@dataclass
class OfflineRun:
    """One run: history rows in order, and the last state of all else."""

    folder: Path
    history: list[dict[str, Any]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    alerts: list[dict[str, str]] = field(default_factory=list)

    def rows(self, key: str) -> list[dict[str, Any]]:
        """The history rows that hold `key`."""
        return [row for row in self.history if key in row]

    def curve(self, key: str) -> list[tuple[int, Any]]:
        """(train/global_step, value) of every row that holds `key`."""
        return [(row["train/global_step"], row[key]) for row in self.rows(key)]

    def table(self, key: str) -> tuple[list[str], list[list[Any]]]:
        """Columns and data of the last table logged under `key`."""
        entry = self.rows(key)[-1][key]
        content = json.loads((self.folder / "files" / entry["path"]).read_text())
        return content["columns"], content["data"]


def seal(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make every W&B run that follows an offline one below `folder`; nothing is written outside it."""
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR", "HOME"):
        monkeypatch.setenv(name, str(folder))
    settings = {"MODE": "offline", "SILENT": "true", "ERROR_REPORTING": "false", "CONSOLE": "off"}
    for name, value in {**settings, "X_DISABLE_STATS": "true", "X_DISABLE_META": "true"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    for name in ("WANDB_PROJECT", "WANDB_API_KEY", "WANDB_RUN_ID", "WANDB_RESUME", "WANDB_DISABLED"):
        monkeypatch.delenv(name, raising=False)


def _whole(path: Path) -> list[Any]:
    """All records, once the last one (exit) is there: on a busy machine the writer can lag behind `finish`."""
    for _ in range(100):
        records = list(iter_records(path))
        if records and records[-1].WhichOneof("record_type") in ("exit", "final", "footer"):
            break
        time.sleep(0.1)
    return records


def read_run(folder: Path) -> OfflineRun:
    """The single run below `folder`. Call `wandb.finish()` first: it is written lazily."""
    (path,) = folder.glob("**/run-*.wandb")
    run = OfflineRun(path.parent)
    for record in _whole(path):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            row: dict[str, Any] = {}
            for item in record.history.item:
                _put(row, _key(item), _value(item))
            run.history.append(row)
        elif kind in ("config", "summary", "run"):
            target = run.summary if kind == "summary" else run.config
            source = record.run.config if kind == "run" else getattr(record, kind)  # wandb.init(config=) is in the run
            for item in source.update:
                _put(target, _key(item), _value(item))
        elif kind == "metric":
            metric = record.metric
            modes = {name for name in ("min", "max", "mean", "best", "last") if getattr(metric.summary, name)}
            run.metrics[metric.name or metric.glob_name] = {"x": metric.step_metric, "summary": modes}
        elif kind == "alert":
            run.alerts.append({key: getattr(record.alert, key) for key in ("title", "text", "level")})
    return run


def iter_records(path: Path) -> Iterator[Any]:
    """The protobuf records of a `.wandb` file."""
    from wandb.proto import wandb_internal_pb2 as pb

    data = path.read_bytes()
    ident, magic, version = struct.unpack("<4sHB", data[:_HEAD])
    assert (ident, magic, version) == (b":W&B", 0xBEE1, 0)
    at, parts = _HEAD, []
    while at + _HEAD <= len(data):
        if _BLOCK - at % _BLOCK < _HEAD:
            at += _BLOCK - at % _BLOCK
            continue
        crc, length, kind = struct.unpack("<IHB", data[at : at + _HEAD])
        chunk = data[at + _HEAD : at + _HEAD + length]
        if kind == 0 or len(chunk) < length:
            break
        assert zlib.crc32(chunk, zlib.crc32(bytes([kind]))) & 0xFFFFFFFF == crc, f"crc at {at}"
        at += _HEAD + length
        parts.append(chunk)
        if kind in (1, 4):  # a whole record, or the last part of one
            record = pb.Record()
            record.ParseFromString(b"".join(parts))
            parts = []
            yield record


def _key(item: Any) -> tuple[str, ...]:
    return tuple(item.nested_key) or (item.key,)


def _value(item: Any) -> Any:
    kind = item.WhichOneof("value") if any(one.name == "value" for one in item.DESCRIPTOR.oneofs) else None
    if kind is None:
        return json.loads(item.value_json)
    value = getattr(item, kind)
    return None if kind == "none" else json.loads(value) if kind in ("json", "value_json") else value


def _put(target: dict[str, Any], key: tuple[str, ...], value: Any) -> None:
    for part in key[:-1]:
        target = target.setdefault(part, {})
    target[key[-1]] = value
