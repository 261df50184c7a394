"""What becomes of an evaluation, whoever made it: a row for the trackers, lines for the person, a stop, a last word."""

from __future__ import annotations

from collections.abc import Callable

from .. import distributed
from ..plain_text import plain_logger
from ..run import words
from ..run.keys import constants, proxy_row, shown
from ..run.lines import Summary
from ..run.look import Outcome
from ..run.monitor import Monitor
from ..views.console import say
from .fanout import Trackers

logger = plain_logger(__name__)


class Announcer:
    """Tells of one run, on every rank the same; only rank 0 prints. All of it is collective, as the monitor is.

    Args:
        tell: prints a line.
    """

    def __init__(self, monitor: Monitor, trackers: Trackers, tell: Callable[[str], None] = say) -> None:
        self.monitor = monitor
        self.trackers = trackers
        self._tell = tell
        self._name = monitor.config.name

    def look(self, step: int, outcome: Outcome) -> None:
        """An evaluation has been joined to the run."""
        numbers = {**outcome.row, **proxy_row(outcome.proxies, name=self._name)}
        self.trackers.log(shown(numbers, self._name, self.monitor.config.log), step)
        self.trackers.constants(constants(numbers, self._name))
        self._say(outcome.line, *self.monitor.asides(outcome))
        if outcome.proxies:
            self._save_workspace(step)

    def judgement(self, step: int, outcome: Outcome) -> None:
        """What it means for the run: objective and people begin to part ways, or a rule says stop."""
        if outcome.stop:
            self.monitor.note("stop", step, rule=self.monitor.config.stop_rule, reason=outcome.stop)
            self.trackers.alert(words.alert_title(self._name, step, stop=True), outcome.stop)
            self._say(words.stop_line(self._name, outcome.stop))
        elif outcome.alert:
            self.trackers.alert(words.alert_title(self._name, step, stop=False), outcome.alert)

    def skip(self, step: int, reason: str) -> None:
        """An evaluation that failed; training goes on."""
        self.monitor.skip(step, reason)
        if distributed.rank() == 0:
            logger.warning("%s at step %s was skipped, training goes on: %s", self._name.upper(), step, reason)

    def show(self, *, ending: bool = False) -> None:
        """The pictures of the run so far; those of the whole run where it is ending."""
        if ending:
            self.trackers.finish(self.monitor.record, self.monitor.summary())
        else:
            self.trackers.show(self.monitor.record)

    def close(self, step: int, kept: Callable[[Summary], bool | None] = lambda summary: None) -> None:
        """The run is over.

        Args:
            kept: whether the checkpoint of the best look is there, by the run's summary; `None` where nobody promised.
        """
        summary = self.monitor.summary()
        self.trackers.finish(self.monitor.record, summary)
        self._save_workspace(step)
        self.monitor.finish(step, summary, errors=self.trackers.errors)
        self._say(self.monitor.closing_line(summary, kept=kept(summary)))
        if (following := self.monitor.next_line()) is not None:
            self._say(following)

    def _save_workspace(self, step: int) -> None:
        """Save the W&B workspace that is asked for, as soon as the run has logged something to show in it.

        Once in a run, resumed or not: each is a view of its own, which the whole team sees.
        """
        wanted = self.monitor.config.workspace and not self.trackers.workspace_tried
        if not wanted or any(event.kind == "workspace" for event in self.monitor.record.events):
            return
        self.trackers.workspace_tried = True
        address = distributed.on_rank0(lambda: self.trackers.save_workspace(self.monitor.record))
        if address is not None:
            self.monitor.note("workspace", step, reason=address)
            self._say(words.workspace_line(address))

    def _say(self, *lines: str) -> None:
        if distributed.rank() == 0:
            for line in lines:
                self._tell(line)
