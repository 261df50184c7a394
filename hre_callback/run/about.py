"""What a run line says beside the settings: the questions, the packages, how high people themselves reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypeVar

from .. import distributed
from ..config import HREConfig, OnError
from ..data.messages import excerpt
from ..plain_text import plain_logger
from ..stats.ceiling import Ceiling, human_ceiling
from ..stats.human_hre import HumanHRE, human_hre
from ..stats.significance import known_clusters
from .cutoff import After, after_cutoff
from .groups import LEAST_QUESTIONS, MOST_GROUPS, GroupVotes, group_votes, unrated_people
from .look import Terms
from .proxies import as_logged
from .words import ceiling_words, cutoff_words, unrated_words

if TYPE_CHECKING:
    from ..data.questions import Question

logger = plain_logger(__name__)
T = TypeVar("T")
# Characters of a text that the record keeps.
_EXCERPT = 300
_VERSIONS = ("hre-callback", "torch", "transformers", "trl", "accelerate", "peft", "wandb")


def run_fields(
    questions: Sequence[Question], fingerprint: str, terms: Terms, about: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields of a run line.

    Args:
        about: what is known of model and trainer.
    """
    return {
        "name": terms.config.name,
        "fingerprint": fingerprint,
        "config": terms.config.as_dict(),
        "versions": versions(),
        **about,
        "planned_looks": terms.planned_looks,
        "human_ceiling": terms.ceiling.value,
        "human_ceiling_from": terms.ceiling.source,
        "human_ceiling_n": terms.ceiling.n,
        "human_hre": terms.human.estimate,
        "human_hre_low": terms.human.low,
        "human_hre_high": terms.human.high,
        "human_hre_n": terms.human.n,
        "human_hre_people": terms.human.people,
        "directions": as_logged(terms.directions),
        "questions": describe_questions(questions),
    }


def describe_questions(questions: Iterable[Question]) -> list[dict[str, Any]]:
    """The `questions` of a run line: ids, an excerpt to recognise them by, votes, characters of the answers."""
    described = []
    for question in questions:
        best = max(question.answers, key=lambda answer: answer.votes)
        described.append(
            {
                "id": question.id,
                "topic": question.topic,
                "cluster": question.cluster,
                "question": excerpt(question.question, _EXCERPT),
                "best_answer": best.text[:_EXCERPT],
                "votes": [answer.votes for answer in question.answers],
                "lengths": [len(answer.text) for answer in question.answers],
                **({} if question.judge is None else {"judge": question.judge}),
            }
        )
    return described


def versions() -> dict[str, str]:
    """Of the packages that take part, as far as they are installed."""
    found = {}
    for package in _VERSIONS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            # Some are optional.
            continue
    return found


def human_figures(questions: Sequence[Question], config: HREConfig) -> tuple[Ceiling, HumanHRE]:
    """The human ceiling and the humans' own HRE; NaN for one that these questions do not give."""
    if judges := sorted({question.judge for question in questions if question.judge is not None}):
        if distributed.rank() == 0:
            logger.warning(
                f"The votes were given by {', '.join(judges)}, not by people: HRE is agreement with that judge, and no "
                "human ceiling is drawn."
            )
        return Ceiling(source="judge"), HumanHRE()
    votes = [[answer.votes for answer in question.answers] for question in questions]
    ratings = [question.ratings for question in questions]
    clusters = known_clusters([question.cluster for question in questions])
    counted = [question.counted for question in questions]
    ceiling = _or(
        Ceiling(),
        lambda: human_ceiling(votes, ratings, counted=counted, seed=config.seed),
        "human ceiling",
        config.on_error,
    )
    if math.isnan(ceiling.value) and ceiling.source is not None and distributed.rank() == 0:
        logger.warning(ceiling_words(ceiling.source, ceiling.n))
    people = _or(
        HumanHRE(), lambda: human_hre(ratings, clusters=clusters, seed=config.seed), "human HRE", config.on_error
    )
    return ceiling, people


def groups_of_people(questions: Sequence[Question]) -> GroupVotes:
    """The votes of every group of people that HRE is told of; what is left out is said."""
    kept, left_out = group_votes(questions)
    unrated = unrated_people(questions)
    if unrated and distributed.rank() == 0:
        logger.warning(unrated_words(len(unrated), unrated[0]))
    if left_out and distributed.rank() == 0:
        logger.warning(
            f"HRE is not shown for {left_out} groups of people: it is for the {MOST_GROUPS} largest, of "
            f"{LEAST_QUESTIONS} questions or more."
        )
    return kept


def sides_of_cutoff(questions: Sequence[Question], config: HREConfig) -> After | None:
    """Which questions are from after the cutoff, where there is one; that they tell nothing is said."""
    after = after_cutoff(questions, config.cutoff)
    if after is not None:
        said = cutoff_words(config.cutoff or "", after.count(False), after.count(True), after.count(None))
        if said and distributed.rank() == 0:
            logger.warning(said)
    return after


def _or(nothing: T, work: Callable[[], T], what: str, on_error: OnError) -> T:
    """A figure that stands beside HRE; where it cannot be worked out there is none, and that is said."""
    try:
        return work()
    except Exception as error:
        if on_error == "raise":
            raise
        logger.warning("No %s is shown, it could not be worked out: %s", what, distributed.describe(error))
        return nothing
