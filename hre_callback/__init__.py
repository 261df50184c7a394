"""HumanRankEval inside fine-tuning: see objective mismatch when it starts.

Names are imported when they are first used, so that `hre --help` and shell completion need not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .callback import HumanRankEvalCallback
    from .config import HREArguments, HREConfig
    from .correlation import HREResult
    from .evaluator import HumanRankEvaluator
    from .loglikelihood import EvaluationError
    from .questions import Answer, Question, fingerprint, load_questions
    from .record import read_record
    from .report import write_report

__version__ = "0.1.0"
__all__ = [
    "Answer",
    "EvaluationError",
    "HREArguments",
    "HREConfig",
    "HREResult",
    "HumanRankEvalCallback",
    "HumanRankEvaluator",
    "Question",
    "fingerprint",
    "load_questions",
    "read_record",
    "write_report",
]
_HOME = {
    "Answer": "questions",
    "EvaluationError": "loglikelihood",
    "HREArguments": "config",
    "HREConfig": "config",
    "HREResult": "correlation",
    "HumanRankEvalCallback": "callback",
    "HumanRankEvaluator": "evaluator",
    "Question": "questions",
    "fingerprint": "questions",
    "load_questions": "questions",
    "read_record": "record",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
