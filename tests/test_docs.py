"""What the documentation tells people to type is really there: code runs, commands parse, files exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from textwrap import dedent

import pytest
import typer

import hre_callback
from hre_callback import load_questions
from hre_callback.cli import app
from hre_callback.scoring.demo_model import tiny_model

from .trainers import TEXTS

ROOT = Path(hre_callback.__file__).parents[1]
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
PAGES = [README, ROOT / "recipes" / "README.md", CONTRIBUTING, *sorted((ROOT / "hre_callback").rglob("README.md"))]
PAGES = [page for page in PAGES if page.exists()]  # a wheel comes without most of them
SOURCES = sorted((ROOT / "hre_callback").rglob("*.py"))


def blocks(path, language):
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", path.read_text(), re.MULTILINE | re.DOTALL)
    return [dedent(body) for _, body in found]


PYTHON = [
    pytest.param(code, id=f"{path.relative_to(ROOT)}-{i}")
    for path in [*PAGES, *SOURCES]
    for i, code in enumerate(blocks(path, "python"))
]


@pytest.mark.parametrize("code", PYTHON)
def test_code_runs(code, monkeypatch, tmp_path):
    """With stand-ins for what a reader brings along: data from the hub, a trainer, a model."""
    monkeypatch.chdir(tmp_path)
    few = load_questions("bundled", max_questions=4)
    monkeypatch.setattr("hre_callback.data.questions.load_questions", lambda *args, **options: few)
    model, tokenizer = tiny_model(TEXTS)
    public = {name: getattr(hre_callback, name) for name in hre_callback.__all__}
    told = {}
    brought = {
        "model": model, "tokenizer": tokenizer, "questions": few,
        "DPOTrainer": lambda *args, **options: told.update(options),
    }  # fmt: skip
    exec(compile(code, "the documentation", "exec"), {**public, **brought})
    if "DPOTrainer" in code:
        (callback,) = told["callbacks"]
        assert isinstance(callback, hre_callback.HumanRankEvalCallback) and callback.questions == tuple(few)


def commands():
    """(command line, where it stands): from bash blocks, inline code and the examples of `hre --help`."""
    for page in PAGES:
        text = page.read_text()
        lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
        lines += re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S))
        for line in lines:
            if line.startswith("hre "):
                yield line, page
    for known in [app.info, *app.registered_commands]:
        for line in re.findall(r"hre [^;\n]+", (known.epilog or "").partition(":")[2]):
            yield line, "--help"


def parse(line):
    """Read a command line as typer does, without running it; [optional] parts count as given."""
    words = shlex.split(re.sub(r"[\[\]]", "", line), comments=True)[1:]
    root = typer.main.get_command(app)
    if words[0].startswith("-"):
        assert words[0] in {name for option in root.params for name in option.opts}, line
        return
    command = root.commands[words[0]]
    if len(words) > 1 and words[1] != "--help":  # a bare name is a mention, not a call
        command.make_context(words[0], words[1:])


@pytest.mark.parametrize("line", sorted({line for line, _ in commands() if "COMMAND" not in line}))
def test_commands_parse(line):
    parse(line)


@pytest.mark.parametrize("line", ["hre nothing", "hre score a b --colour red", "hre --colour"])
def test_a_wrong_command_would_be_seen(line):
    with pytest.raises(Exception, match=r"nothing|No such option|--colour"):
        parse(line)


def test_every_command_of_the_help_is_in_the_readme():
    if not README.exists():
        pytest.skip("no README beside the package")
    told = " ".join(line for line, where in commands() if where == README)
    names = typer.main.get_command(app).commands
    assert [name for name in names if f"hre {name}" not in told and name != "demo"] == []


def anchors(page):
    """Headings as they are linked to."""
    return {
        re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    }


@pytest.mark.skipif(not README.exists(), reason="no README beside the package, and so not what is linked to")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page):
    named = re.findall(r"(?:tests|recipes|configs|recipes/configs|images)/[\w/]+\.(?:py|yaml|png)", page.read_text())
    homes = (ROOT, ROOT / "recipes")
    assert [name for name in named if not any((home / name).exists() for home in homes)] == []


def test_modules_of_the_package_that_are_named_exist():
    if not CONTRIBUTING.exists():
        pytest.skip("no CONTRIBUTING beside the package")
    for name in re.findall(r"`(?!tests/)([\w/]+)\.py`", CONTRIBUTING.read_text()):
        assert (ROOT / "hre_callback" / f"{name}.py").exists(), name


@pytest.mark.parametrize("name", hre_callback.__all__)
def test_every_public_name_is_described(name):
    assert len((getattr(hre_callback, name).__doc__ or "").strip()) > 20


@pytest.mark.skipif(not README.exists(), reason="no README beside the package")
def test_the_readme_is_a_first_page():
    """At most 900 words; everything else stands on the wings' own pages."""
    assert len(README.read_text().split()) <= 900
