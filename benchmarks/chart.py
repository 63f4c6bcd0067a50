"""The ratios for which a value is wanted, as bars with a mark at that value."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot

from benchmarks.comparison import Comparison

REACHED, MISSED = "#2a7f62", "#c8553d"


def draw(comparisons: Sequence[Comparison], file: Path) -> None:
    """Writes an SVG of the comparisons, each of which must have a wanted ratio. Equal figures make an equal file.

    The scale is logarithmic. A thin line spans the ratios of the rounds.
    """
    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "scoreline", "svg.fonttype": "none"})
    figure, axes = pyplot.subplots(figsize=(11, 0.45 * len(comparisons) + 1), layout="constrained")
    rows = range(len(comparisons) - 1, -1, -1)
    for row, comparison in zip(rows, comparisons, strict=True):
        ratio, wanted = comparison.ratio, comparison.wanted
        if wanted is None:
            raise ValueError(f"no ratio is wanted for {comparison.what}")
        axes.barh(row, ratio.median, color=REACHED if comparison.is_reached else MISSED, height=0.6)
        axes.plot((ratio.least, ratio.greatest), (row, row), color="black", linewidth=0.8)
        end = (max(ratio.greatest, wanted), row)
        axes.annotate(f"{ratio.median:.2f}", end, xytext=(6, 0), textcoords="offset points", va="center")
        axes.plot((wanted, wanted), (row - 0.4, row + 0.4), color="black")
    axes.set_yticks(rows, [f"{each.what} / {each.against}" for each in comparisons])
    axes.set_xscale("log")
    axes.set_xlabel("median ratio; the thin line spans all rounds, the black mark is the wanted ratio")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Date": None})
