from datetime import date, datetime, timezone

import numpy as np
import pytest

from hre_callback.dates import day_of


@pytest.mark.parametrize(
    "value",
    [
        "2024-05-31", " 2024-05-31 ", "2024-05-31T23:59:59.997", "2024-05-31 10:00:00+00:00", "2024-05-31T10:00Z",
        "2024-05-31 10:00:00 UTC", date(2024, 5, 31), datetime(2024, 5, 31, 23, tzinfo=timezone.utc),
    ],
)  # fmt: skip
def test_days(value):
    assert day_of(value) == "2024-05-31"


@pytest.mark.parametrize(
    "value",
    ["", "May 2024", "2024-05", "2024-13-01", "2024-02-30", "31.05.2024", "2024-05-31 at noon", "٢٠٢٤-٠٥-٣١",
     20240531, 1.7e9, None, True, ["2024-05-31"], np.datetime64("2024-05-31"), "2024-05-31\n2024-06-01"],
)  # fmt: skip
def test_no_days(value):
    assert day_of(value) is None
