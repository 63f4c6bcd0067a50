"""A figure beside the one that it is compared with, over the rounds in which both were measured."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Spread(NamedTuple):
    """The median of several rounds, and the least and the greatest of them."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, rounds: Sequence[float]) -> "Spread":
        return cls(statistics.median(rounds), min(rounds), max(rounds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`values` and `others` have one figure for each round, both in `unit`. The wanted ratio, if there is one, is
    `at_least` or `at_most`.

    The ratio is computed within each round, because the speed of a shared machine changes from round to round, and
    changes both figures of a round alike.
    """

    what: str
    unit: str
    values: tuple[float, ...]
    against: str
    others: tuple[float, ...]
    at_least: float | None = None
    at_most: float | None = None

    @property
    def value(self) -> Spread:
        return Spread.of(self.values)

    @property
    def other(self) -> Spread:
        return Spread.of(self.others)

    @property
    def ratio(self) -> Spread:
        """Of the ratios of all rounds. Raises ValueError if the two do not have the same number of rounds."""
        return Spread.of([value / other for value, other in zip(self.values, self.others, strict=True)])

    @property
    def wanted(self) -> float | None:
        return self.at_most if self.at_least is None else self.at_least

    @property
    def is_reached(self) -> bool:
        """Whether the median ratio is the wanted one or better; true where none is wanted."""
        if self.at_least is not None:
            return self.ratio.median >= self.at_least
        return self.at_most is None or self.ratio.median <= self.at_most

    def document(self) -> dict[str, Any]:
        """The figures for benchmarks.json: of each, the median, the least and the greatest of the rounds."""
        value, other, ratio = self.value, self.other, self.ratio
        return {
            "what": self.what,
            "value": value.median,
            "least": value.least,
            "greatest": value.greatest,
            "unit": self.unit,
            "against": self.against,
            "other": other.median,
            "other_least": other.least,
            "other_greatest": other.greatest,
            "ratio": ratio.median,
            "ratio_least": ratio.least,
            "ratio_greatest": ratio.greatest,
            "at_least": self.at_least,
            "at_most": self.at_most,
            "rounds": len(self.values),
        }


def heading() -> str:
    """The heading of the table's columns."""
    return f"{'':<48} {'median':>9} {'':<3} {'(rounds)':<19} {'ratio':>7} {'(rounds)':<17} {'wanted':>8}   to"


def row(comparison: Comparison) -> str:
    """A line of the table; (least … greatest) of the rounds follows a median of several."""
    value, ratio, several = comparison.value, comparison.ratio, len(comparison.values) > 1
    values = f"({value.least:,.4g} … {value.greatest:,.4g})" if several else ""
    ratios = f"({ratio.least:.2f} … {ratio.greatest:.2f})" if several else ""
    sign = "≤" if comparison.at_least is None else "≥"
    wanted = "" if comparison.wanted is None else f"{sign} {comparison.wanted:.3g}"
    return (
        f"{comparison.what:<48} {value.median:>9,.5g} {comparison.unit:<3} {values:<19} {ratio.median:>7.2f} "
        f"{ratios:<17} {wanted:>8}   {comparison.against}"
    )
