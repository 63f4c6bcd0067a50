"""The order of `top`."""

from hypothesis import given
from hypothesis import strategies as st

from score_maker.events.ranking import Prior, bayesian_average

PRIOR = Prior(mean=3, weight=10)

priors = st.builds(Prior, mean=st.floats(1, 5), weight=st.floats(0, 1000))


def test_one_rating_of_5_does_not_beat_a_hundred_averaging_4_8() -> None:
    assert bayesian_average(5, 1, PRIOR) < bayesian_average(480, 100, PRIOR)


def test_an_unrated_event_ranks_below_the_worst_rated_one() -> None:
    assert bayesian_average(0, 0, PRIOR) < bayesian_average(1000, 1000, PRIOR)


def test_a_prior_of_zero_weight_leaves_the_average_unchanged() -> None:
    assert bayesian_average(9, 2, Prior(mean=1, weight=0)) == 4.5


@given(scores=st.lists(st.integers(1, 5), min_size=1, max_size=200), prior=priors)
def test_the_rank_lies_between_the_average_and_the_prior(scores: list[int], prior: Prior) -> None:
    average = sum(scores) / len(scores)
    low, high = sorted((average, prior.mean))
    assert low - 1e-9 <= bayesian_average(sum(scores), len(scores), prior) <= high + 1e-9


@given(scores=st.lists(st.integers(1, 5), min_size=1, max_size=200), prior=priors, better=st.integers(1, 4))
def test_a_better_rating_never_lowers_the_rank(scores: list[int], prior: Prior, better: int) -> None:
    count, total = len(scores), sum(scores)
    assert bayesian_average(total + better, count, prior) > bayesian_average(total, count, prior)


@given(average=st.integers(1, 5), count=st.integers(1, 1000), more=st.integers(1, 1000), weight=st.floats(0.1, 1000))
def test_the_same_average_weighs_more_with_more_ratings(average: int, count: int, more: int, weight: float) -> None:
    prior = Prior(mean=3, weight=weight)
    fewer = bayesian_average(average * count, count, prior)
    many = bayesian_average(average * (count + more), count + more, prior)
    assert abs(many - average) <= abs(fewer - average) + 1e-9
