"""A record in a notebook: the last expression of a cell is shown as the run's verdict and its main figure.

`run` may not ask the views, so that a record that knows how to show itself is made here; `hre_callback.read_record` is
this one. Nothing of it needs IPython.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from ..formatting import count
from ..run import record as plain
from ..run.record import Record
from .figure import main_figure
from .headline import headline
from .page import from_template
from .reading import Reading
from .report import main_chart
from .small_figures import thermometer


class ShownRecord(Record):
    """A record that a notebook shows: Jupyter, Colab and others call `_repr_html_`. All else is a `Record`'s."""

    def __eq__(self, other: object) -> bool:
        """Equal to what says the same, shown or not: a dataclass asks for the very class."""
        return isinstance(other, Record) and all(
            getattr(self, one.name) == getattr(other, one.name) for one in fields(self)
        )

    __hash__ = Record.__hash__

    def _repr_html_(self) -> str:
        """Verdict, numbers and main figure as inline HTML.

        Self-contained: no script, no request, every text from the record escaped, its style below a class of its own.
        """
        reading = Reading(self)
        figure = main_figure(reading)
        chart = main_chart(reading, figure)
        drawn = None if chart is None else chart.drawn
        return from_template("notebook.html.jinja", figure=figure, drawn=drawn, thermometer=thermometer(reading))

    def __repr__(self) -> str:
        """A few words: a notebook keeps this text beside the figure, and a record holds every score of a run."""
        reading = Reading(self)
        said = headline(reading)
        return f"<Record of {reading.title}, {count(len(self.evaluations), 'evaluation')}: {said.title}. {said.detail}>"


def read_record(path: str | Path, *, described: bool = False) -> ShownRecord:
    """Read a record from its file, or from the run's folder when that holds exactly one.

    In a notebook it shows itself: verdict, numbers, and the curve beside the training signals. A last line cut short by
    a kill is dropped; damage anywhere else is an error.

    Args:
        path (`str` or `Path`): the file or the folder.
        described (`bool`, *optional*, defaults to `False`): whether it must also say of each question what a report
            shows: topic, votes and lengths of its answers.

    Raises:
        ValueError: there is no record, there are several, or a line (named) is not what it should be.
    """
    found = plain.read_record(path, described=described)
    return ShownRecord(**{one.name: getattr(found, one.name) for one in fields(found)})
