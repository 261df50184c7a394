"""HumanRankEval inside fine-tuning: see objective mismatch when it starts.

Names are imported when they are first used, so that `hre --help` and shell completion need not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .callback import HumanRankEvalCallback
    from .config import HREArguments, HREConfig
    from .data.preference_split import split_preferences
    from .data.questions import Answer, Question, fingerprint, load_questions
    from .run.monitor import Monitor
    from .scoring.errors import EvaluationError
    from .scoring.evaluator import HumanRankEvaluator
    from .stats.correlation import HREResult
    from .views.notebook import read_record
    from .views.report import write_report

__version__ = "0.1.0"
__all__ = [
    "Answer",
    "EvaluationError",
    "HREArguments",
    "HREConfig",
    "HREResult",
    "HumanRankEvalCallback",
    "HumanRankEvaluator",
    "Monitor",
    "Question",
    "fingerprint",
    "load_questions",
    "read_record",
    "split_preferences",
    "write_report",
]
_HOME = {
    "Answer": "data.questions",
    "EvaluationError": "scoring.errors",
    "HREArguments": "config",
    "HREConfig": "config",
    "HREResult": "stats.correlation",
    "HumanRankEvalCallback": "callback",
    "HumanRankEvaluator": "scoring.evaluator",
    "Monitor": "run.monitor",
    "Question": "data.questions",
    "fingerprint": "data.questions",
    "load_questions": "data.questions",
    "read_record": "views.notebook",
    "split_preferences": "data.preference_split",
    "write_report": "views.report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
