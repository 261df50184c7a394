"""Fixtures that several test files share."""

import os

# Before anything imports the hub's client: a test that asks for what is not there waited two minutes for a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from .commands import folder as folder
from .commands import full as full
from .commands import model as model
from .commands import warm as warm
from .older import skip_what_is_older
from .test_callback import planted as planted


def pytest_collection_modifyitems(items):
    skip_what_is_older(items)
