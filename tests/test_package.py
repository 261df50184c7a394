"""What the package promises as a whole: public names, one-way imports, no heavy import where none is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hre_callback

PACKAGE = Path(hre_callback.__file__).parent
NO_TORCH = [
    "questions",
    "correlation",
    "significance",
    "stopping",
    "mismatch",
    "proxies",
    "contamination",
    "record",
    "stackexchange",
    "schedule",
]


def imports_of(module: Path) -> set[str]:
    """Modules of the package that a module imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
    return found


def test_all_is_sorted_and_true():
    assert hre_callback.__all__ == sorted(hre_callback.__all__)
    for name in hre_callback.__all__:
        assert getattr(hre_callback, name).__doc__, f"{name} has no docstring"


def test_imports_go_one_way():
    graph = {path.stem: imports_of(path) for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
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
    assert only_callers_of_the_trainer <= {"demo"}


def test_the_picture_of_the_rooms_is_true():
    """Every arrow in CONTRIBUTING is an import."""
    page = PACKAGE.parent / "CONTRIBUTING.md"
    if not page.exists():
        pytest.skip("no CONTRIBUTING beside the package")
    arrows = [line.split("─>") for line in page.read_text().splitlines() if "─>" in line]
    assert len(arrows) > 5
    for room, targets in arrows:
        drawn = {target.strip() for target in targets.split(",")}
        assert drawn <= imports_of(PACKAGE / f"{room.strip()}.py"), room


@pytest.mark.parametrize("name", NO_TORCH)
def test_pure_modules_import_no_torch(name):
    """Looked for in a fresh interpreter, with the package's own __init__ out of the way."""
    code = (
        "import sys, types; p = types.ModuleType('hre_callback'); "
        f"p.__path__ = [{str(PACKAGE)!r}]; sys.modules['hre_callback'] = p; "
        f"import hre_callback.{name}; sys.exit('torch' in sys.modules)"
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
    code = "import hre_callback; print(hre_callback.__file__, len(hre_callback.load_questions('bundled')))"
    env = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    path, count = out.stdout.split()
    assert path.startswith(str(site)) and int(count) >= 32
