"""The order `top`: a Bayesian average, which a few ratings do not move far."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prior:
    """The ratings that every event is given in advance: `weight` ratings with the average `mean`."""

    mean: float = 3.0
    weight: float = 10.0


def bayesian_average(score_sum: int, score_count: int, prior: Prior) -> float:
    """Returns the average of the ratings together with the prior's; 0, below every rating, if there are none."""
    if score_count == 0:
        return 0.0
    return (prior.weight * prior.mean + score_sum) / (prior.weight + score_count)
