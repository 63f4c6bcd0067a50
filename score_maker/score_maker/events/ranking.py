"""The order of `top`: an average that few ratings cannot carry far."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prior:
    """What is taken for granted of an event before anybody rates it: `weight` ratings whose average is `mean`."""

    mean: float = 3.0
    weight: float = 10.0


def bayesian_average(score_sum: int, score_count: int, prior: Prior) -> float:
    """The average of the ratings and of those that the prior stands for; 0, which is below every rating, where nobody
    has rated."""
    if score_count == 0:
        return 0.0
    return (prior.weight * prior.mean + score_sum) / (prior.weight + score_count)
