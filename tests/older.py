"""Tests that an older release of a dependency cannot pass, each with what that release does."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version

import pytest

_OPT = "OPT gives its attention a mask of its own: packed by the mask, not by the function"
_FUTURE = "moves by 1e-5 when only later tokens change, and is refused"
_ABSENT = "not in this release"
# By how the test's id begins behind the file's name; of transformers before 5.
_TRANSFORMERS_4 = {
    "test_best_model_is_chosen_by_hre": 'save_strategy="best" loads nothing before 5.4',
    "test_every_trusted_layout_equals_the_naive_loop[olmo3_mixed": _ABSENT,
    "test_every_trusted_layout_equals_the_naive_loop[opt": _OPT,
    "test_every_trusted_layout_equals_the_naive_loop[qwen2_vl": "its own forward fails on text alone",
    "test_every_trusted_layout_equals_the_naive_loop[t5-sdpa]": "T5 has no SDPA",
    "test_every_trusted_layout_equals_the_naive_loop[zamba2": _FUTURE,
    "test_short_rows_may_be_masked_under_a_window[olmo3_mixed]": _ABSENT,
    "test_no_position_is_beyond_the_table_where_a_short_question_has_long_answers[OPTConfig": _OPT,
    "test_packed_is_kept_in_bfloat16_and_under_autocast[opt]": _OPT,
    "test_families_that_went_wrong_equal_the_naive_loop[phi3_longrope]": "its numbers do not change with padding",
    "test_a_model_whose_numbers_change_with_padding_gets_one_row_at_a_time": "its numbers do not change with padding",
    "test_models_that_see_the_future_are_refused_at_the_start[": "refused in other words: its forward takes no use_cache",
    "test_models_that_want_more_than_text_are_refused_at_the_start[blip": "refused in other words: no use_cache",
    "test_no_mixture_of_experts_is_refused_for_a_last_bit[1.0-minimax_m2]": _ABSENT,
    "test_no_mixture_of_experts_is_refused_for_a_last_bit[2.5-minimax_m2]": _ABSENT,
    "test_no_mixture_of_experts_is_refused_for_a_last_bit[4.0-minimax_m2]": _ABSENT,
    "test_no_mixture_of_experts_is_refused_for_a_last_bit[2.5-gpt_oss]": _FUTURE,
    "test_weights_of_another_shape_are_named_with_both": "names them without their shapes",
    "test_what_hre_cannot_score_is_refused_by_name[Whisper": "it warns while it is saved",
}


def skip_what_is_older(items: Iterable[pytest.Item]) -> None:
    """Mark them, with the reason."""
    if int(version("transformers").partition(".")[0]) >= 5:
        return
    for item in items:
        for begins, reason in _TRANSFORMERS_4.items():
            if item.name.startswith(begins):
                item.add_marker(pytest.mark.skip(reason=f"transformers {version('transformers')}: {reason}"))
