"""ms-swift: `HRE_CONFIG=hre.yaml swift sft ... --external_plugins "$(hre where swift)" --callbacks hre`.

ms-swift runs this file and asks its table of callbacks for the name; it makes one with (args, trainer).
"""

from __future__ import annotations

from typing import Any

from swift.callbacks import callbacks_map

from hre_callback import HumanRankEvalCallback
from hre_callback.frontends.settings import from_variable


class HRECallback(HumanRankEvalCallback):
    """The callback with the settings that `HRE_CONFIG` names."""

    def __init__(self, args: Any, trainer: Any) -> None:
        settings = from_variable()
        super().__init__(settings.load(), settings.config)


callbacks_map["hre"] = HRECallback
