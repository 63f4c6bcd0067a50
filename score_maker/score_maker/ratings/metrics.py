"""Prometheus metrics of submissions."""

from functools import cache

from prometheus_client import Counter, Histogram

from score_maker.ratings.domain import OtherVersion, Outcome, Refusal, Score, Unchanged

SUBMISSIONS = Counter(
    "scoreline_submissions_total",
    "Ratings and withdrawals by outcome: accepted, unchanged, or why they were refused",
    ["outcome"],
)
GROUP_SIZE = Histogram(
    "scoreline_commit_group_size",
    "Submissions that shared one transaction",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000),
)


def count_outcome(outcome: Outcome) -> None:
    _counter(_name_of(outcome)).inc()


def _name_of(outcome: Outcome) -> str:
    match outcome:
        case Score():
            return "accepted"
        case Unchanged():
            return "unchanged"
        case OtherVersion():
            return "other_version"
        case Refusal() as refusal:
            return refusal


@cache
def _counter(outcome: str) -> Counter:
    """Caches the labelled counter: looking it up in the library costs several times what incrementing it does."""
    return SUBMISSIONS.labels(outcome)


# A series that exists from the start shows its growth from zero.
for _outcome in ("accepted", "unchanged", "other_version", *Refusal):
    _counter(_outcome)
