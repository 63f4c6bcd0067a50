"""A figure beside another of the same rounds."""

import pytest

from benchmarks.comparison import Comparison, heading, row


def comparison(
    values: tuple[float, ...],
    others: tuple[float, ...],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Comparison:
    return Comparison(
        what="requests",
        unit="/s",
        values=values,
        against="another",
        others=others,
        at_least=at_least,
        at_most=at_most,
    )


def test_the_ratio_is_that_of_the_figures_of_one_round() -> None:
    # Each round has another machine: by their medians, 20 / 20, the two would be equally fast.
    ratio = comparison((10, 20, 60), (20, 40, 15)).ratio
    assert (ratio.median, ratio.least, ratio.greatest) == (0.5, 0.5, 4)


def test_rounds_that_only_one_of_the_two_has_are_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        _ = comparison((10, 20), (10,)).ratio


@pytest.mark.parametrize(
    ("at_least", "at_most", "is_reached"),
    [(0.5, None, True), (0.51, None, False), (None, 0.5, True), (None, 0.49, False), (None, None, True)],
)
def test_the_median_ratio_reaches_what_is_wanted(
    at_least: float | None, at_most: float | None, is_reached: bool
) -> None:
    assert comparison((1, 1, 4), (2, 2, 2), at_least=at_least, at_most=at_most).is_reached is is_reached


def test_the_table_shows_the_spread_of_the_rounds_beside_each_median() -> None:
    line = row(comparison((100, 300, 200), (100, 100, 100), at_least=0.95))
    assert "200 /s" in line
    assert "(100 … 300)" in line
    assert "2.00 (1.00 … 3.00)" in line
    assert "≥ 0.95" in line
    assert heading().index("ratio") + len("ratio") == line.index("2.00 (") + len("2.00")


def test_the_table_shows_no_spread_of_a_single_measurement() -> None:
    assert "…" not in row(comparison((3,), (1,), at_most=5))


def test_the_document_has_the_median_and_the_spread_of_each_figure() -> None:
    document = comparison((1, 2, 3), (1, 1, 2)).document()
    assert [document[key] for key in ("value", "least", "greatest")] == [2, 1, 3]
    assert [document[key] for key in ("other", "other_least", "other_greatest")] == [1, 1, 2]
    assert [document[key] for key in ("ratio", "ratio_least", "ratio_greatest")] == [1.5, 1, 2]
