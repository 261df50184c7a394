"""What to type where a module is missing: its package may have another name, or be there and too old."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

# Modules that a command may come to need whose package is not called as they are.
_PACKAGES = {"PIL": "pillow", "yaml": "pyyaml", "sklearn": "scikit-learn", "swift": "ms-swift"}
_OURS = "hre-callback"


def missing_module(name: str) -> str:
    """One sentence for a person who wants to go on.

    A package is named where it is known: it is installed and lacks the module, or this package asks for it. Code of
    a model's own may import anything, and a guessed name is somebody else's package.
    """
    module = name.partition(".")[0]
    if name != module and (there := packages_distributions().get(module)):
        return f"this needs {name}, which the installed {there[0]} does not have: pip install --upgrade {there[0]}"
    package = _PACKAGES.get(module, _known_as(module))
    if package is None:
        return f"this needs the module {name}, which is not installed; install the package that has it"
    return f"this needs {package}, which is not installed: pip install {package}"


def _known_as(module: str) -> str | None:
    """The package of the same name, if this one asks for it, as an extra too."""
    try:
        asked = requires(_OURS) or []
    except PackageNotFoundError:
        asked = []
    names = {re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in asked}
    return next((one for one in names if _plain(one) == _plain(module)), None)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
