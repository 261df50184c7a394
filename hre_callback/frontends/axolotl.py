"""axolotl: `plugins: [hre_callback.frontends.axolotl.HREPlugin]`, with `hre_` keys beside its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from axolotl.integrations.base import BasePlugin
from pydantic import BaseModel, Field, create_model

from ..callback import HumanRankEvalCallback
from ..config import HREConfig
from ..settings_file import SETTINGS, Settings
from .settings import PREFIX, from_keys, is_ours

_HELP = {field.name: field.metadata["help"] for field in fields(HREConfig)}


def _key(name: str) -> Any:
    # HREConfig alone says what may stand there.
    return Any, Field(default=None, json_schema_extra={"description": _HELP.get(name, "See load_questions.")})


# What axolotl lets through its check of the file; keys that the file does not have are None.
HREArgs: type[BaseModel] = create_model("HREArgs", **{PREFIX + name: _key(name) for name in SETTINGS})


class HREPlugin(BasePlugin):  # type: ignore[misc]
    """One callback, made of the keys that begin with `hre_`."""

    def register(self, cfg: Mapping[str, Any]) -> None:
        """Refuse keys and questions that cannot be used before a model is loaded.

        Raises:
            ValueError: names the key, what was found and what was expected.
        """
        _settings(cfg).load()

    def get_input_args(self) -> str:
        """Where axolotl finds the names of our keys."""
        return f"{__name__}.{HREArgs.__name__}"

    def add_callbacks_pre_trainer(self, cfg: Mapping[str, Any], model: Any) -> list[HumanRankEvalCallback]:
        """The callback, before those that axolotl itself adds, early stopping among them."""
        settings = _settings(cfg)
        return [HumanRankEvalCallback(settings.load(), settings.config)]


def _settings(cfg: Mapping[str, Any]) -> Settings:
    given = {key: value for key, value in dict(cfg).items() if is_ours(key) and value is not None}
    return from_keys(given, "axolotl's config")
