"""The ratios of which something is wanted, as bars beside what that is."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib import pyplot

REACHED, MISSED = "#2a7f62", "#c8553d"


class Bar(NamedTuple):
    name: str
    ratio: float
    wanted: float
    is_reached: bool


def draw(bars: Sequence[Bar], file: Path) -> None:
    """Writes an SVG; the same figures make the same file. The scale is logarithmic."""
    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "scoreline", "svg.fonttype": "none"})
    figure, axes = pyplot.subplots(figsize=(11, 0.45 * len(bars) + 1), layout="constrained")
    rows = range(len(bars) - 1, -1, -1)
    for row, bar in zip(rows, bars, strict=True):
        axes.barh(row, bar.ratio, color=REACHED if bar.is_reached else MISSED, height=0.6)
        axes.text(max(bar.ratio, bar.wanted), row, f"  {bar.ratio:.2f}", va="center")
        axes.plot((bar.wanted, bar.wanted), (row - 0.4, row + 0.4), color="black")
    axes.set_yticks(rows, [bar.name for bar in bars])
    axes.set_xscale("log")
    axes.set_xlabel("ratio; the black mark is what is wanted of it")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Date": None})
