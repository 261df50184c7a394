from __future__ import annotations

import math
import re

import pytest

from hre_callback.views.looks import Looks, Series, over, table


def looks(places, *series, names=None):
    words = names or [str(10 * i) for i in range(len(places))]
    return Looks("step", words, places, [Series(name, key, said) for name, key, said in series])


def test_every_point_has_its_words_and_is_one_of_a_group():
    made = over(looks([0.0, 0.4, 1.0], ("HRE", "hre/score", ["0.1", "", "0.3"])), "the figure")
    assert made.count('<input type="radio" name="look"/>') == 3 and made.startswith(
        '<form class="looks" method="dialog"'
    )
    assert 'aria-label="the figure: the numbers at each step, by the arrow keys"' in made
    assert "<b>step 0</b><span>HRE <b>0.1</b></span></span>" in made
    assert "<b>step 10</b></span></label>" in made, "what is not known there is not said"
    assert [side for side in re.findall(r'class="(tip[^"]*)"', made)] == ["tip", "tip", "tip left"]


def test_points_share_the_width_between_them_whatever_their_order():
    made = over(looks([0.5, 0.0, 1.0], ("a", "b", ["1", "2", "3"])), "")
    found = re.findall(r"--x:([\d.]+)%;--from:(-?[\d.]+)%;--wide:([\d.]+)%", made)
    assert [tuple(map(float, one)) for one in found] == [(50, 25, 50), (0, -3, 28), (100, 75, 28)]


def test_a_point_that_is_not_drawn_cannot_be_pointed_at_and_stays_in_the_table():
    some = looks([0.0, math.nan], ("a", "b", ["1", "2"]))
    assert over(some, "").count("<label") == 1 and len(table(some).rows) == 2
    assert over(looks([]), "") == ""


def test_a_table_names_the_key_below_the_name():
    made = table(looks([0.0, 1.0], ("HRE", "hre/score", ["0.1", ""])))
    assert [(column.name, column.key) for column in made.columns] == [("step", ""), ("HRE", "hre/score")]
    assert made.rows == [["0", "0.1"], ["10", "–"]] and made.caption == "2 evaluations"


@pytest.mark.parametrize("n", [150, 151, 1000])
def test_many_points_are_thinned_and_the_last_one_stays(n):
    many = looks([i / (n - 1) for i in range(n)], ("a", "b", [str(i) for i in range(n)]))
    made = table(many)
    assert len(made.rows) <= 151 and made.rows[-1][1] == str(n - 1)
    assert ("shown" in made.caption) == (n > 150)
    drawn = over(many, "")
    assert drawn.count("<label") <= 81 and f"<b>{n - 1}</b>" in drawn


def test_words_are_escaped():
    hostile = '"><script>alert(1)</script>\x1b'
    made = over(looks([0.5], (hostile, hostile, [hostile]), names=[hostile]), hostile)
    assert "<script" not in made and made.count("&lt;script&gt;") == 4 and "\x1b" not in made
