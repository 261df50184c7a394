from __future__ import annotations

import io
import json
import threading
import time

import pytest
from rich.console import Console

from hre_callback.run.record import read_record
from hre_callback.views import terminal as module
from hre_callback.views.figure import main_figure
from hre_callback.views.terminal import blocks, frame, plot, watch

from ..synthetic_records import grpo, healthy, mismatch, reading, write


def console(width=90):
    return Console(file=io.StringIO(), width=width, force_terminal=False, legacy_windows=False)


def printed(lines, tmp_path, width=90):
    screen = console(width)
    watch(write(lines, tmp_path / "hre.jsonl").parent, once=True, console=screen)
    return screen.file.getvalue()


def test_one_frame_has_verdict_numbers_curve_and_signals(tmp_path):
    text = printed(mismatch(8, n=60), tmp_path)
    assert "✕ Training objective and people part ways since step" in text
    assert "n = 60 questions" in text and "stopped at step" in text and "3f9a1c0b7e5d2846" in text
    assert "reward margin" in text and "human ceiling 0.71" in text
    assert any(0x2800 < ord(char) < 0x2900 for char in text) and "░" in text and "┈" in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_longer_than_the_terminal(tmp_path, width):
    assert max(map(len, printed(grpo(8, n=40), tmp_path, width).splitlines())) <= width


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_few_looks(tmp_path, looks):
    text = printed(healthy(3, n=30)[: 1 + looks], tmp_path)
    assert ("no score yet" in text) == (looks == 0)


def test_the_curve_rises_where_the_record_rises():
    one = reading(healthy(9, n=200))
    rows = plot(main_figure(one), 40).plain.split("\n")[: module._ROWS]
    heights = {
        column: row for row, line in enumerate(rows) for column, char in enumerate(line) if 0x2800 < ord(char) < 0x2900
    }
    assert heights[min(heights)] > heights[max(heights)]
    assert max(heights) - min(heights) == 39, "the curve spans the plot"


def test_blocks():
    assert blocks([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert blocks([1, float("nan"), 3]) == "▁ █"
    assert len(blocks(range(100), width=24)) == 24
    assert blocks([]) == ""


def test_skips_are_reported_and_markup_is_not_obeyed(tmp_path):
    lines = [*healthy(3, n=30)[:3], {"kind": "skipped", "step": 90, "reason": "[red]oom[/red]"}]
    lines[0]["model"] = "[bold]m[/nope]"
    text = printed(lines, tmp_path)
    assert "1 evaluation skipped, last: [red]oom[/red]" in text and "[bold]m[/nope]" in text


def test_follows_a_growing_record_until_it_is_finished(tmp_path):
    lines = healthy(4, n=200)
    path, screen = tmp_path / "run" / "hre.jsonl", console()
    path.parent.mkdir()
    follower = threading.Thread(
        target=watch, args=(tmp_path / "run",), kwargs={"refresh": 0.02, "console": screen}, daemon=True
    )
    follower.start()
    time.sleep(0.1)
    with open(path, "w") as file:
        for line in lines:
            text = json.dumps(line, separators=(",", ":")) + "\n"
            file.write(text[:20])  # a reader may find half a line
            file.flush()
            time.sleep(0.05)
            file.write(text[20:])
            file.flush()
    follower.join(10)
    assert not follower.is_alive(), "it did not leave when the run finished"
    assert "Better for people than at the start" in screen.file.getvalue()


def test_ctrl_c_leaves_quietly(tmp_path, monkeypatch):
    def press(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", press)
    screen = console()
    watch(tmp_path, console=screen)
    assert "Waiting for a record at" in screen.file.getvalue()


@pytest.mark.parametrize("once", [False, True])
def test_a_folder_that_is_not_there_is_no_run_to_wait_for(once, tmp_path):
    with pytest.raises(ValueError, match="typo: no such folder or record"):
        watch(tmp_path / "typo", once=once, console=console())


def test_once_without_a_record_says_so(tmp_path):
    with pytest.raises(ValueError, match="no record"):
        watch(tmp_path, once=True)


def test_an_unchanged_file_is_not_read_again(tmp_path, monkeypatch):
    write(healthy(3, n=30)[:3], tmp_path / "hre.jsonl")
    reads, sleeps = [], []
    monkeypatch.setattr(module, "read_record", lambda path: reads.append(path) or read_record(path))

    def sleep(seconds):
        sleeps.append(seconds)
        if len(sleeps) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", sleep)
    watch(tmp_path, refresh=7, console=console())
    assert len(reads) == 1 and sleeps == [7] * 5


def test_frames_are_the_same_for_the_same_record():
    one = main_figure(reading(grpo(5, n=30)))
    screens = [console(), console()]
    for screen in screens:
        screen.print(frame(one, 90))
    assert screens[0].file.getvalue() == screens[1].file.getvalue()
