import numpy as np
import pytest

from hre_callback.ceiling import human_ceiling, human_hre
from hre_callback.correlation import pearson


@pytest.mark.parametrize("size", [3.0, 10.0, 40.0])
def test_ceiling_is_what_a_perfect_model_reaches(size):
    """Votes are Poisson around a true quality; the perfect model knows the quality."""
    rng = np.random.default_rng(0)
    quality = size * rng.gamma(1.5, size=(3000, 4))
    votes = rng.poisson(quality)
    reached = np.nanmean([pearson(v, q) for v, q in zip(votes, quality, strict=True)])
    assert human_ceiling(votes.tolist()) == pytest.approx(reached, abs=0.03)


def test_ceiling_of_nothing_and_of_negative_votes():
    assert np.isnan(human_ceiling([[3, 3, 3]]))
    assert 0 <= human_ceiling([[40, 3, -7, 1], [12, -3, 2, 0]]) <= 1


def test_human_hre_by_hand():
    ratings = [{"a": [1, 2, 3], "b": [1, 2, 3], "c": [3, 2, 1]}]
    # a against the constant mean of b and c is undefined and left out, b likewise; c against a and b: -1
    assert human_hre(ratings) == pytest.approx(-1)
    assert human_hre([{"a": [1, 2, None], "b": [2, 4, 9]}]) == pytest.approx(1.0)
    assert np.isnan(human_hre([None, {"a": [1, 2]}]))
