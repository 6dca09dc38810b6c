"""Draws a run in two panels: how many times better than the references, and what share of the limits was reached.

Needs matplotlib (extra `bench`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eventstore.store.errors import ConfigurationError

from .report import Result, Run

_COLOUR, _MARK = "#2a6f97", "#c9a227"
_ROW, _MARGIN = 0.34, 2.2


def draw(run: Run, path: Path) -> None:
    """Writes a picture of the run; the ending of the name says of which kind, such as .png or .svg.

    Raises:
        ConfigurationError: matplotlib is missing, cannot write such a file, or there is nothing to draw.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigurationError("--plot needs matplotlib: pip install 'eventstore-runtime[bench]'") from None
    compared = [one for one in run.results if one.ratio]
    limited = [one for one in run.results if one.share]
    drawn = [panel for panel in ((_times, compared), (_shares, limited)) if panel[1]]
    if not drawn:
        raise ConfigurationError("nothing that was measured has a reference or a limit: there is nothing to draw")
    heights = [len(results) * _ROW + _MARGIN / 2 for _, results in drawn]
    figure = Figure(figsize=(10, sum(heights) + _MARGIN / 2), layout="constrained")
    panels = figure.subplots(len(drawn), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for panel, (fill, results) in zip(panels[:, 0], drawn, strict=True):
        fill(panel, results)
        panel.set_yticks(range(len(results)), [one.title for one in results])
        panel.invert_yaxis()
    release = run.machine["eventstore-runtime"]
    figure.suptitle(f"eventstore-runtime {release}, medians of {run.rounds} rounds, {run.at}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot draw to {path}: {error}") from None


def _times(panel: Any, results: list[Result]) -> None:
    values = [one.ratio or 0 for one in results]
    _bars(panel, results, values)
    panel.set_xscale("log")
    panel.axvline(1, color=_MARK)
    panel.set_xlabel("times better than commanded/eventstore (the line)")


def _shares(panel: Any, results: list[Result]) -> None:
    _bars(panel, results, [100 * (one.share or 0) for one in results])
    panel.axvline(100, color=_MARK)
    panel.set_xlabel("% of what is possible by the limits of the same run (the line)")


def _bars(panel: Any, results: list[Result], values: list[float]) -> None:
    """Bars with the spread of the rounds, in proportion."""
    below, above = [], []
    for one, value in zip(results, values, strict=True):
        worst, best = _spread(one)
        below.append(value * (1 - worst))
        above.append(value * (best - 1))
    panel.barh(range(len(results)), values, color=_COLOUR, xerr=[below, above], ecolor="#555555")


def _spread(one: Result) -> tuple[float, float]:
    """The worst and the best round as parts of the median."""
    if one.less_is_better:
        return one.median / one.max, one.median / one.min if one.min else 1.0
    return one.min / one.median, one.max / one.median
