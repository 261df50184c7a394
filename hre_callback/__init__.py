"""HumanRankEval inside fine-tuning: see objective mismatch when it starts."""

from .config import HREArguments, HREConfig
from .correlation import HREResult
from .evaluator import EvaluationError, HumanRankEvaluator
from .questions import Answer, Question, fingerprint, load_questions

__version__ = "0.1.0"
__all__ = [
    "Answer",
    "EvaluationError",
    "HREArguments",
    "HREConfig",
    "HREResult",
    "HumanRankEvaluator",
    "Question",
    "fingerprint",
    "load_questions",
]
