"""What the package promises as a whole: public names, one-way imports, no heavy import where none is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hre_callback

from .synthetic_records import healthy, write

PACKAGE = Path(hre_callback.__file__).parent
# Rooms that every wing may ask; they ask nobody.
BASE = {"config", "dates", "distributed", "files", "formatting", "plain_text"}
# From the ground up: a wing asks those above it in this list. scoring and run never meet.
ORDER = ["data", "stats", "scoring", "run", "views", "trackers", "callback", "frontends", "cli"]
APART = {("scoring", "run"), ("run", "scoring"), ("data", "stats"), ("stats", "data"), ("views", "scoring")}
NO_TORCH = ["data", "stats", "run", "views"]
# The files around the Trainer, by the door that they stand behind.
DOORS = {
    **dict.fromkeys(("binding", "patience", "preflight", "best_checkpoint", "unpublished", "trainer_args"), "callback"),
    **dict.fromkeys(("demo", "commands", "follow", "__main__"), "cli"),
    # Knows what load_questions takes, and asks the config alone.
    "settings_file": "data",
}


def rooms() -> dict[str, Path]:
    """Every module by its name: no two have the same, whatever their wings."""
    found = {path.stem: path for path in PACKAGE.rglob("*.py") if path.stem != "__init__"}
    assert len(found) == len([path for path in PACKAGE.rglob("*.py") if path.stem != "__init__"])
    return found


def imports_of(module: Path) -> set[str]:
    """Modules of the package that a module imports anywhere, also inside functions, by their last name."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = module.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            if folder.is_dir():
                found |= {alias.name for alias in node.names}
            else:
                found.add(folder.name)
    return found


def test_all_is_sorted_and_true():
    assert hre_callback.__all__ == sorted(hre_callback.__all__)
    for name in hre_callback.__all__:
        assert getattr(hre_callback, name).__doc__, f"{name} has no docstring"


def test_imports_go_one_way():
    graph = {name: imports_of(path) for name, path in rooms().items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"import cycle: {' -> '.join((*trail, name))}"
        if name not in done:
            for target in graph.get(name, ()):
                visit(target, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    only_callers_of_the_trainer = {name for name, targets in graph.items() if "callback" in targets}
    assert only_callers_of_the_trainer <= {"demo", "attach", "axolotl", "llamafactory"}


def wings() -> dict[str, set[str]]:
    """Which wings each wing imports from, anywhere; a file beside the wings is one of its own."""
    homes = {name: path.relative_to(PACKAGE).parts[0].removesuffix(".py") for name, path in rooms().items()}
    found: dict[str, set[str]] = {}
    for name, path in rooms().items():
        found.setdefault(homes[name], set()).update(homes[target] for target in imports_of(path))
    return {wing: targets - {wing} for wing, targets in found.items()}


def test_the_wings_stand_in_their_order():
    """data, stats < scoring, run < views < trackers < callback < frontends < cli."""
    for wing, targets in wings().items():
        here = DOORS.get(wing, wing)
        if wing in BASE:
            # A cutoff is a day.
            assert not targets - ({"dates"} if wing == "config" else set()), f"{wing} is for all, and asks {targets}"
            continue
        assert here in ORDER, f"{wing} is neither a wing nor behind a door"
        asked = {DOORS.get(target, target) for target in targets - BASE}
        assert asked <= {*ORDER[: ORDER.index(here)], here}, wing
        assert not {(wing, target) for target in asked} & APART, wing


def test_the_picture_of_the_wings_is_true():
    """Every arrow in CONTRIBUTING is an import, and every import between wings an arrow."""
    page = PACKAGE.parent / "CONTRIBUTING.md"
    if not page.exists():
        pytest.skip("no CONTRIBUTING beside the package")
    arrows = [line.split("─>") for line in page.read_text().splitlines() if "─>" in line]
    drawn = {wing.strip(): {target.strip() for target in targets.split(",")} for wing, targets in arrows}
    found = {wing: targets - BASE for wing, targets in wings().items() if wing != "__main__"}
    assert drawn == {wing: targets for wing, targets in found.items() if targets}


def test_a_large_file_says_why():
    """Every file of more than 300 lines stands in CONTRIBUTING's list with its reason, and no small one."""
    page = PACKAGE.parent / "CONTRIBUTING.md"
    if not page.exists():
        pytest.skip("no CONTRIBUTING beside the package")
    part = page.read_text().split("## Files of more than 300 lines")[1].split("\n## ")[0]
    told = {line.split("`")[1] for line in part.splitlines() if line.startswith("- `")}
    files = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name for name, lines in files.items() if lines > 300} - told == set()
    assert {name for name in told if files.get(name, 0) < 270} == set()


@pytest.mark.parametrize("wing", NO_TORCH)
def test_pure_wings_import_no_torch(wing):
    """Looked for in a fresh interpreter, with the package's own __init__ out of the way."""
    files = [path.relative_to(PACKAGE / wing).with_suffix("") for path in (PACKAGE / wing).rglob("*.py")]
    names = [".".join(file.parts) for file in files]
    code = (
        "import sys, types; from importlib import import_module; p = types.ModuleType('hre_callback'); "
        f"p.__path__ = [{str(PACKAGE)!r}]; sys.modules['hre_callback'] = p; "
        f"[import_module(f'hre_callback.{wing}.{{name}}') for name in {names}]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_help_is_quick_to_import():
    """`hre --help` must not wait for torch."""
    code = "import sys, hre_callback.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_typed_marker_and_data_are_there():
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "data" / "sample_questions.jsonl").exists()


@pytest.mark.slow
def test_wheel_builds_and_works_when_installed(tmp_path):
    """The wheel holds code and data, and the command works from it, outside the checkout."""
    root = PACKAGE.parent
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(root)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(pip, check=True, capture_output=True, timeout=300)
    write(healthy(3, n=20), tmp_path / "run" / "hre.jsonl")
    code = (
        "import hre_callback; print(hre_callback.__file__, len(hre_callback.load_questions('bundled'))); "
        "hre_callback.write_report('run')"
    )
    env = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    path, count = out.stdout.split()
    assert path.startswith(str(site)) and int(count) >= 32
    assert "--paper:" in (tmp_path / "run" / "hre.html").read_text(), "template and style are in the wheel"
