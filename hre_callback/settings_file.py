"""Settings of a run that nobody writes Python for: a YAML file of `HREConfig`'s fields, and which questions.

```yaml
questions: beer.jsonl      # file, folder or hub dataset, from where the command runs
max_questions: 256         # a subset, stratified by topic
topics: [brewing, tasting]
eval_steps: 50
stop_rule: drop_from_start
```
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from .config import NUMERIC_OPTIONS, HREConfig, check_option
from .data.questions import Question, load_questions
from .plain_text import one_line

_OPTIONS = tuple(option.name for option in fields(HREConfig))
_DATA = ("questions", "topics", "max_questions")
# All keys that settings may have.
SETTINGS = (*_DATA, *_OPTIONS)
# Characters of somebody else's message that are passed on.
_LONGEST = 300
# A number in YAML 1.2 and to people; YAML 1.1 wants a dot and a sign in it, or it is text.
_EXPONENT = re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9]*)?[eE][-+]?[0-9]+$")


@dataclass(frozen=True)
class Settings:
    """What `load_questions` and the evaluations of a run are asked for.

    Attributes:
        questions, topics, max_questions: arguments of `load_questions`.
    """

    config: HREConfig
    questions: str
    topics: list[str] | None = None
    max_questions: int | None = None

    def load(self) -> list[Question]:
        """The questions; the config's seed draws the subset.

        Raises:
            ValueError: see `load_questions`.
        """
        return load_questions(
            self.questions, topics=self.topics, max_questions=self.max_questions, seed=self.config.seed
        )


def read_settings(path: str | Path | None = None, **overrides: Any) -> Settings:
    """The settings in a YAML file, and what was given besides.

    Args:
        path: a YAML file whose keys are fields of `HREConfig`, `questions`, `topics` and `max_questions`; `None` for
            none.
        overrides: settings that count instead of the file's; `None` is none.

    Raises:
        ValueError: the file is no YAML mapping, a key is unknown, stands twice or has a value of another type than it
            takes, or nothing names the questions. One sentence, with the file and the key.
        OSError: the file cannot be read.
    """
    return make_settings({}, **overrides) if path is None else make_settings(_read(Path(path)), str(path), **overrides)


def make_settings(given: Mapping[str, Any], where: str = "", **overrides: Any) -> Settings:
    """The same from a mapping, which `where` names in errors."""
    lead = f"{where}: " if where else ""
    said = {key: value for key, value in overrides.items() if value is not None}
    checked: dict[str, Any] = {}
    for values, place in ((given, lead), (said, "")):
        for key, value in values.items():
            checked[key] = _checked(key, value, place)
    if checked.get("questions") is None:
        hint = f", or `questions: ...` in {where}" if where else ""
        raise ValueError(f"no questions are named; give --questions (a file, a folder or a hub dataset){hint}")
    try:
        config = HREConfig(**{key: value for key, value in checked.items() if key in _OPTIONS})
    except ValueError as error:
        # Each value fits; two of them do not fit together, or one holds what only the config looks into.
        raise ValueError(f"{lead}{error}") from error
    return Settings(config, **{key: checked[key] for key in _DATA if key in checked})


def _checked(key: object, value: Any, place: str) -> Any:
    if key in _OPTIONS:
        return check_option(str(key), _meant(str(key), value), f"{place}{key}")
    if key not in _DATA:
        near = get_close_matches(str(key).replace("-", "_"), SETTINGS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(SETTINGS)}"
        raise ValueError(f"{place}{key!r:.80} is no setting of HRE; {hint}")
    if key == "questions" and not (isinstance(value, str) and value.strip()):
        raise ValueError(f"{place}questions is {value!r:.80}; it must be a file, a folder or a hub dataset")
    if key == "max_questions" and value is not None and (type(value) is not int or value < 1):
        raise ValueError(f"{place}max_questions is {value!r:.80}; it must be a whole number of at least 1")
    if key == "topics" and value is not None and not _is_names(value):
        raise ValueError(f"{place}topics is {value!r:.80}; it must be a list of names such as [python, math]")
    return value


def _meant(key: str, value: Any) -> Any:
    """What was typed where YAML 1.1, which front-ends read their files with, finds something else."""
    if key == "contamination" and value is False:
        return "off"
    if key in NUMERIC_OPTIONS and isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    return value


def _is_names(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML as people mean it: 1e-3 is a number, and a key that stands twice is a mistake."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", node.start_mark)
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


def _read(path: Path) -> Mapping[str, Any]:
    """The mapping in the file; an empty one holds none."""
    try:
        found = yaml.load(path.read_bytes(), Loader=_Loader)
    # Whatever is no YAML: bad bytes, dates that are none, a mapping as a key, brackets without end.
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        words = one_line(" ".join(_words(error)))
        raise ValueError(f"{path} is no YAML that can be read: {words[:_LONGEST]}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"{path}: found {found!r:.80}, expected settings such as `eval_steps: 50`, one a line")
    return found


def _words(error: Exception) -> Iterator[str]:
    """What a person needs of an error of YAML: its problem and the line."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        yield f"line {mark.line + 1}:"
    yield str(getattr(error, "problem", None) or error)
