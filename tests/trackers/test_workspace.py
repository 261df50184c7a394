"""The request for a W&B workspace, read by a stub on this machine: it says nothing about what the service does with it."""

from __future__ import annotations

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from threading import Thread
from types import SimpleNamespace

import pytest

from hre_callback import HREConfig, HumanRankEvalCallback
from hre_callback.run.record import read_record
from hre_callback.trackers.announcer import Announcer
from hre_callback.trackers.base import GLOBAL_STEP
from hre_callback.trackers.fanout import Trackers
from hre_callback.trackers.workspace import save_workspace

from .. import records
from ..test_cli import hre
from ..trainers import questions, sft_trainer
from ..wandb_offline import seal

# wandb-workspaces is written with pydantic's old validators; TRL sets a name that transformers renames
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
needs_extra = pytest.mark.skipif(find_spec("wandb_workspaces") is None, reason="the extra is not installed")


class Stub(BaseHTTPRequestHandler):
    """Answers the two questions that the client asks; `answer` and `asked` belong to the server."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked)
        if "upsertView" in asked["query"]:
            status, answer = self.server.answer
        else:
            viewer = {"id": "1", "username": "e", "entity": "e", "flags": "{}", "teams": {"edges": []}}
            status, answer = 200, {"data": {"viewer": viewer, "serverInfo": {}}}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def stub(tmp_path, monkeypatch):
    import wandb

    wandb.teardown()  # settings are read once per service
    seal(monkeypatch, tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    server.asked = []
    server.answer = 200, {"data": {"upsertView": {"view": {"id": "7", "name": "nw-abc-v"}, "inserted": True}}}
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    yield server
    server.shutdown()
    server.server_close()
    wandb.teardown()


def sent(stub):
    """Variables of the one view that was asked for, and its sections: name -> panels."""
    (asked,) = [asked["variables"] for asked in stub.asked if "upsertView" in asked["query"]]
    spec = json.loads(asked["spec"])
    sections = spec["section"]["panelBankConfig"]["sections"]
    return asked, spec, {section["name"]: section["panels"] for section in sections}


@needs_extra
def test_the_view_that_is_asked_for(stub, capsys):
    out, _ = hre("workspace", "team/tuning", "--name", "hre_code", capsys=capsys)
    assert out.startswith("Workspace: http://127.0.0.1") and "team/tuning" in out
    asked, spec, sections = sent(stub)
    assert (asked["entityName"], asked["projectName"]) == ("team", "tuning")
    assert asked["displayName"] == "HumanRankEval" and not asked.get("id")  # a new view, never another's
    assert spec["section"]["settings"]["xAxis"] == GLOBAL_STEP
    assert list(sections) == ["HRE", "Training", "Topics", "Mismatch"]
    curve = sections["HRE"][0]["config"]
    assert curve["metrics"] == ["hre_code/score", "hre_code/score_low", "hre_code/score_high"]
    assert sections["HRE"][1]["config"]["mediaKeys"] == ["hre_code/score_chart"]
    assert sections["Topics"][0]["config"]["metricRegex"] == "hre_code_more/topic/.*"
    axes = {panel["config"].get("xAxis") for panel in [*sections["HRE"], *sections["Training"][:-1]]}
    assert axes - {None} == {GLOBAL_STEP}  # pictures have none
    every = [panel["config"] for panel in [*sections["Mismatch"], *sections["Training"]]]
    against = {panel["xAxis"] for panel in every if "against" in panel["chartTitle"]}
    assert against >= {"hre_code_more/proxy/train/loss", "summary:train/loss"}


@needs_extra
def test_a_refusal_is_one_line(stub, capsys):
    stub.answer = 403, {"errors": [{"message": "permission denied"}]}
    out, err = hre("workspace", "team/tuning", capsys=capsys, code=2)
    assert out == "" and "did not take the workspace for team/tuning" in err
    assert len([line for line in err.splitlines() if line.startswith("hre: ")]) == 1


@needs_extra
def test_no_api_key_is_one_line(stub, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_API_KEY")
    _, err = hre("workspace", "team/tuning", capsys=capsys, code=2)
    assert "wandb login" in err and "Traceback" not in err
    assert stub.asked == []


@pytest.mark.parametrize("project", ["tuning", "/tuning", "team/", "a/b/c", ""])
def test_the_project_has_two_parts(project):
    with pytest.raises(ValueError, match="expected ENTITY/PROJECT"):
        save_workspace(project)


def test_without_the_extra_it_says_what_to_install():
    code = (
        "import sys; sys.modules['wandb_workspaces'] = None; "
        "sys.argv = ['hre', 'workspace', 'a/b']; from hre_callback.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("hre: ") and 'pip install "hre-callback[workspace]"' in done.stderr


# ---- one flag -----------------------------------------------------------------------------------------------


def active(monkeypatch, *, offline=False):
    """A W&B run of this process; what it logs is not of interest here."""
    run = SimpleNamespace(entity="team", project="tuning", offline=offline, disabled=False)
    monkeypatch.setattr("wandb.run", run)


@needs_extra
def test_one_flag_saves_it_once_with_what_the_run_logs(stub, monkeypatch, tmp_path, capsys):
    active(monkeypatch)
    config = HREConfig(name="hre_code", eval_steps=1, workspace=True)
    sft_trainer(tmp_path / "out", [HumanRankEvalCallback(questions(), config)], max_steps=4).train()
    asked, _, sections = sent(stub)
    assert (asked["entityName"], asked["projectName"]) == ("team", "tuning")
    assert list(sections) == ["HRE", "Training"]
    assert sections["HRE"][0]["config"]["metrics"][0] == "hre_code/score"
    assert sections["HRE"][1]["config"]["mediaKeys"] == ["hre_code/score_chart"]
    logged = [panel["config"].get("metrics") for panel in sections["Training"]]
    assert logged[0] == ["train/loss"] and not any("reward" in str(keys) for keys in logged)
    record = read_record(tmp_path / "out" / "hre_code.jsonl")
    (saved,) = [event for event in record.events if event.kind == "workspace"]
    # The Trainer logs at step 2 for the first time.
    assert saved.step == 2 and saved.reason.startswith("http://127.0.0.1")
    assert capsys.readouterr().out.count(f"W&B workspace: {saved.reason}") == 1
    assert record.events[-1].tracker_errors == []


@pytest.mark.parametrize(
    ("run", "broken", "said"),
    [
        (None, "", "no W&B run is active"),
        ("offline", "", "hre workspace ENTITY/PROJECT --run RUN"),
        ("online", "the extra", 'pip install "hre-callback[workspace]"'),
        pytest.param("online", "the key", "wandb login", marks=needs_extra),
        pytest.param("online", "the service", "did not take the workspace for team/tuning", marks=needs_extra),
    ],
)
def test_where_it_cannot_be_it_is_one_sentence(run, broken, said, stub, monkeypatch, caplog):
    if run is not None:
        active(monkeypatch, offline=run == "offline")
    if broken == "the extra":
        monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
        monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    if broken == "the key":
        monkeypatch.delenv("WANDB_API_KEY")
    stub.answer = 403, {"errors": [{"message": "permission denied"}]}
    trackers = Trackers([])
    assert trackers.save_workspace(records.of()) is None
    (error,) = trackers.errors
    ours = [entry.getMessage() for entry in caplog.records if entry.name.startswith("hre_callback")]
    assert ours == [error] and said in error and "\n" not in error
    assert bool(stub.asked) is (broken == "the service")


@pytest.mark.parametrize("fails", [False, True])
def test_it_is_asked_for_once_in_a_run(fails, monkeypatch):
    tries, lines, told = [], [], records.of()

    def save(record):
        tries.append(record)
        return None if fails else "http://there"

    def note(kind, step, **fields):
        told.events.extend(records.of(events=[{"kind": kind, "step": step, **fields}]).events)

    monitor = SimpleNamespace(config=HREConfig(workspace=True), record=told, note=note)
    for _ in range(2):  # the second is the run resumed: of the first it knows the record
        trackers = Trackers([])
        monkeypatch.setattr(trackers, "save_workspace", save)
        for step in (2, 4):
            Announcer(monitor, trackers, lines.append)._save_workspace(step)
    assert len(tries) == (2 if fails else 1)
    assert lines == ([] if fails else ["W&B workspace: http://there"])
