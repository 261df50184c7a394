"""A port for processes that train together: a fixed one could be another test's."""

from __future__ import annotations

import socket


def free_port() -> str:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
