"""How the votes of the bundled sample were drawn: `python -m tests.data.sample_votes` writes them again.

Real votes are made of how good an answer is, of how many people saw the question, and of luck: when an answer came, who
passed by. So are these. `grade` is the project's own judgement of an answer (3 right and complete, 2 right as far as it
goes, 1 of little help, 0 wrong or rude); the votes are drawn around it, one draw a question from its id, and nobody has
chosen among draws.
"""

from __future__ import annotations

import json
import math
import random

from hre_callback.data.sources import SAMPLE_QUESTIONS

# Upvotes that an answer of each grade gets for one that the best gets, and downvotes it gets anyway, on average.
_WORTH = {3: 1.0, 2: 0.55, 1: 0.2, 0: 0.1}
_DOWN = {3: 0.3, 2: 0.5, 1: 1.0, 0: 2.0}
# Upvotes of a best answer, median, and how far questions and answers scatter around theirs (sd of the logarithm).
_SEEN, _QUESTIONS, _ANSWERS = 9, 0.8, 0.6


def drawn(identity: str, grades: list[int]) -> list[int]:
    """Votes of the answers of a question; drawn again where all are equal."""
    rng = random.Random(f"0 {identity}")
    while True:
        seen = rng.lognormvariate(math.log(_SEEN), _QUESTIONS)
        votes = []
        for grade in grades:
            up = min(200, seen * _WORTH[grade] * rng.lognormvariate(0, _ANSWERS))
            votes.append(_poisson(rng, up) - _poisson(rng, _DOWN[grade]))
        if len(set(votes)) > 1:
            return votes


def _poisson(rng: random.Random, mean: float) -> int:
    """Knuth's multiplication method."""
    limit, count, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        count += 1
        product *= rng.random()
    return count


def main() -> None:
    """Write the sample with its votes drawn again."""
    lines = []
    for line in SAMPLE_QUESTIONS.read_text(encoding="utf-8").splitlines():
        question = json.loads(line)
        votes = drawn(question["id"], [answer["grade"] for answer in question["answers"]])
        for answer, vote in zip(question["answers"], votes, strict=True):
            answer["votes"] = vote
        lines.append(json.dumps(question, ensure_ascii=False) + "\n")
    SAMPLE_QUESTIONS.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
