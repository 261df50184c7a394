"""All or nothing, whatever goes wrong on the way."""

from __future__ import annotations

import os

import pytest

from hre_callback.files import write_whole


def test_chunks_land_in_order_and_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_whole(path, (f"{i}\n".encode() for i in range(3)))
    assert path.read_bytes() == b"0\n1\n2\n"
    write_whole(path, [b"new"])
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def broken():
    yield b"half"
    raise ZeroDivisionError


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    with pytest.raises(ZeroDivisionError):
        write_whole(path, broken())
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        write_whole(path, broken())

    def full(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, [b"new"])
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
