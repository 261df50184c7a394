"""Imported by every Python that a command of `hre run` starts: waits for transformers, costs nothing without it.

It knows the standard library alone, and little of that: the Python may be any, with hre_callback or without.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The module whose class every Trainer makes one object of, with its callbacks, model and tokenizer.
_MODULE = "transformers.trainer_callback"


def _tell(line: str) -> None:
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        # The terminal is gone: no reason to end a run.
        return


def _note(kind: str, line: str = "") -> None:
    """Leave word for the end of `hre run`; on another machine, or when that has ended, there is nobody to read it."""
    try:
        with open(os.path.join(os.environ["HRE_RUN_SEEN"], f"{kind}-{os.getpid()}"), "w") as file:
            file.write(line)
    except (OSError, KeyError):
        return


def _attach(handler: Any, caller: Any) -> None:
    try:
        from hre_callback.frontends.attach import attach
    except ImportError as error:
        line = f"HRE is not attached: {sys.executable} cannot import hre_callback ({error})"
        _tell(line)
        _note("left", line)
        return
    attach(handler, caller, _tell, _note)


def _wrap(module: Any) -> None:
    import functools

    _note("imported")
    made = module.CallbackHandler.__init__

    @functools.wraps(made)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        _attach(self, sys._getframe(1).f_locals.get("self"))

    module.CallbackHandler.__init__ = __init__


class _Finder:
    """Lets the others find the module, and wraps it once it has been executed."""

    def __init__(self) -> None:
        self.asking = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != _MODULE or self.asking:
            return None
        import importlib.util

        self.asking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.asking = False
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                _wrap(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _chain() -> None:
    """Do what the sitecustomize does that stands behind this one on the path."""
    import importlib.machinery
    import importlib.util

    here = os.path.realpath(os.path.dirname(__file__))
    others = [place for place in sys.path if os.path.realpath(place) != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


if "HRE_RUN" in os.environ and os.environ.get("HRE_OFF", "0") in ("", "0"):
    if _MODULE in sys.modules:
        _wrap(sys.modules[_MODULE])
    else:
        sys.meta_path.insert(0, _Finder())
_chain()
