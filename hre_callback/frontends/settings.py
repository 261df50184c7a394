"""The settings of a callback on their way: to another process, and out of a front-end's own keys."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..data.sources import source_path
from ..settings_file import Settings, make_settings, read_settings

# What a front-end's file has before our keys, and the variable that names our file where it takes no others.
PREFIX = "hre_"
CONFIG_VARIABLE = "HRE_CONFIG"


def wherever(settings: Settings) -> Settings:
    """The same for a process in another folder: what lies on the disk, by its absolute path."""
    questions = settings.questions
    try:
        there = questions != "bundled" and source_path(questions).exists()
    except (OSError, ValueError):
        # No file has such a name; whoever loads it says so.
        there = False
    return replace(settings, questions=os.path.abspath(questions)) if there else settings


def as_json(settings: Settings) -> str:
    """All of it in one line, for `from_json` in another process."""
    chosen = {name: getattr(settings, name) for name in ("questions", "topics", "max_questions")}
    return json.dumps({**chosen, **settings.config.as_dict()})


def from_json(text: str) -> Settings:
    """The settings that `as_json` wrote."""
    return make_settings(json.loads(text), "the settings of hre run")


def from_variable() -> Settings:
    """The settings in the YAML file that the environment variable `HRE_CONFIG` names.

    Raises:
        ValueError: there is none, or see `read_settings`.
        OSError: it cannot be read.
    """
    path = os.environ.get(CONFIG_VARIABLE)
    if not path:
        raise ValueError(
            f"{CONFIG_VARIABLE} is not set; expected the name of a YAML file with questions and fields of HREConfig"
        )
    return read_settings(path)


def from_keys(given: Mapping[str, Any], where: str) -> Settings:
    """The settings among a front-end's own: those whose keys begin with `hre_`.

    Args:
        where: how an error calls their source.

    Raises:
        ValueError: no questions, an unknown key behind `hre_` or a value that it does not take.
    """
    if given.get(f"{PREFIX}questions") is None:
        raise ValueError(f"{where}: {PREFIX}questions is missing; expected a file, a folder or a hub dataset")
    ours = {key.removeprefix(PREFIX): value for key, value in given.items() if is_ours(key)}
    return make_settings(ours, f"{where}, behind {PREFIX}")


def is_ours(key: object) -> bool:
    """Whether a key of a front-end's settings is meant for us."""
    return isinstance(key, str) and key.startswith(PREFIX)
