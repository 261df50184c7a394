"""All or nothing, whatever goes wrong on the way; and never in place of something else."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from hre_callback.files import check_output, check_output_folder, write_together, write_whole


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


def test_folders_made_for_what_failed_go_again(tmp_path):
    with pytest.raises(ZeroDivisionError):
        write_whole(tmp_path / "a" / "b" / "c.txt", broken())
    assert list(tmp_path.iterdir()) == []


def test_of_several_files_all_are_written_or_none(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        write_together([(tmp_path / "a", [b"new"]), (tmp_path / "b", broken())])
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*scores\.jsonl'"):
        write_whole(tmp_path / "scores.jsonl", [b"x"])


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_decides_who_may_read_a_new_file(tmp_path, umask, mode):
    old = os.umask(umask)
    try:
        write_whole(tmp_path / "a", [b"x"])
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


def test_a_file_that_is_written_again_keeps_its_permissions(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o600)
    write_whole(tmp_path / "a", [b"new"])
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_a_link_prepared_under_the_partial_name_is_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    folder = tmp_path / "out"
    folder.mkdir()
    monkeypatch.setattr("secrets.token_hex", lambda n: "guessed")
    (folder / ".guessed.partial").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_whole(folder / "a", [b"x"])
    assert victim.read_bytes() == b"precious" and (folder / ".guessed.partial").is_symlink()


def test_the_partial_name_is_another_one_each_time(tmp_path):
    seen = []

    def look():
        seen.extend(file.name for file in tmp_path.iterdir())
        yield b"x"

    for _ in range(2):
        write_whole(tmp_path / "a", look())
    partials = {name for name in seen if name != "a"}
    assert len(partials) == 2 and all(len(name) > 32 and str(os.getpid()) not in name for name in partials)


def test_the_longest_name_that_a_folder_takes(tmp_path):
    path = tmp_path / ("x" * 249 + ".jsonl")
    check_output(path)
    write_whole(path, [b"x"])
    assert path.read_bytes() == b"x"


def test_a_link_stays_a_link_and_its_file_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "there" / "file")
    for content in (b"1", b"2"):
        check_output(link)
        write_whole(link, [content])
        assert link.is_symlink() and (tmp_path / "there" / "file").read_bytes() == content


def odd(kind, tmp_path):
    path = tmp_path / "odd"
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        os.chdir(tmp_path)
        socket.socket(socket.AF_UNIX).bind("odd")
    elif kind == "a device":
        path.symlink_to("/dev/null")
    return path


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a socket", "a device"])
def test_only_an_ordinary_file_is_replaced(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = odd(kind, tmp_path)
    before = os.lstat(path)
    link = tmp_path / "link"
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(ValueError, match=rf"{name.name} is {kind}, expected a file or a new name"):
            check_output(name)
        with pytest.raises(ValueError, match=rf"{name.name} is {kind}"):
            write_whole(name, [b"x"])
    assert os.lstat(path)[:3] == before[:3]
    if kind != "a folder":
        with pytest.raises(ValueError, match=f"odd is {kind}, expected a folder or a new name"):
            check_output_folder(path)


WAYS = {
    "itself": lambda file: file,
    "with a dot": lambda file: f"{file.parent}/./{file.name}",
    "by way of the folder above": lambda file: f"{file.parent}/../{file.parent.name}/{file.name}",
    "relative": lambda file: os.path.relpath(file),
    "a symbolic link": lambda file: made(file, "symlink_to"),
    "a hard link": lambda file: made(file, "hardlink_to"),
}


def made(file, way):
    link = file.with_name("link")
    getattr(link, way)(file)
    return link


@pytest.mark.parametrize("way", WAYS)
def test_an_input_is_never_replaced_however_it_is_written(way, tmp_path):
    file = tmp_path / "q.jsonl"
    file.write_bytes(b"questions")
    other = WAYS[way](file)
    with pytest.raises(ValueError, match="which this command reads; it would be lost"):
        check_output(other, inputs=["owner/name", None, file])
    with pytest.raises(ValueError, match="which this command reads"):
        check_output(file, inputs=[other])


@pytest.mark.parametrize("way", WAYS)
def test_two_outputs_need_two_names(way, tmp_path):
    file = tmp_path / "out.jsonl"
    if way == "a hard link":
        file.write_bytes(b"")
    other = WAYS[way](file)
    with pytest.raises(ValueError, match="are one file; two outputs need two names"):
        check_output(other, outputs=[None, file])
    check_output(tmp_path / "another", outputs=[file])


def test_a_file_of_an_input_folder_is_an_input_too(tmp_path):
    model, cache = tmp_path / "model", tmp_path / "cache"
    model.mkdir(), cache.mkdir()
    (cache / "blob").write_bytes(b"weights")
    (model / "model.safetensors").symlink_to(cache / "blob")
    (model / "config.json").write_bytes(b"{}")
    for name in ("model.safetensors", "config.json"):
        with pytest.raises(ValueError, match=rf"{name} lies in .*model, which this command reads"):
            check_output(model / name, inputs=[model])
    check_output(model / "scores.jsonl", inputs=[model])


def test_a_link_under_a_name_that_nobody_typed_is_refused(tmp_path):
    link = tmp_path / "hre.html"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"hre\.html is a link to .*elsewhere; give that name"):
        check_output(link, derived=True)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file/below.jsonl", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("nul\0byte", "null"),
        ("loop", "symbolic link"),
        ("read-only", "read-only"),
    ],
)
def test_what_cannot_be_written_is_known_before_and_leaves_nothing(name, reason, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "read-only").write_bytes(b"")
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "read-only" and access(path, mode))
    before = sorted(file.name for file in tmp_path.iterdir())
    with pytest.raises(ValueError, match=reason):
        check_output(tmp_path / name)
    assert sorted(file.name for file in tmp_path.iterdir()) == before


def test_a_folder_that_refuses_is_known_before(tmp_path, monkeypatch):
    def refuse(dir):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    for check in (check_output, check_output_folder):
        with pytest.raises(ValueError, match=r"a/b: cannot be written: .*Read-only file system"):
            check(tmp_path / "a" / "b")


def test_looking_makes_nothing(tmp_path):
    check_output(tmp_path / "a" / "b" / "c.jsonl")
    check_output_folder(tmp_path / "d" / "e")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["", ".", "..", "/"])
def test_a_name_of_no_file(path):
    with pytest.raises(ValueError, match="is a folder|is no name"):
        check_output(path)
