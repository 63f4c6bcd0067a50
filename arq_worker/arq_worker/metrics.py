"""What the worker tells Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

from score_maker.ratings.domain import Mending, Verdict
from score_maker.saga.throughput import Outcome

SETTLED = Counter("scoreline_settled_total", "Ratings that line_provider has ruled on", ["verdict", "reason"])
SAGA_SECONDS = Histogram(
    "scoreline_saga_seconds",
    "From a rating's acceptance to its settlement",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200),
)
LINE_PROVIDER_AWAY = Gauge("scoreline_line_provider_away", "1 while the circuit breaker keeps ratings back")
RECONCILIATION_SECONDS = Histogram(
    "scoreline_reconciliation_seconds", "How long passes of reconciliation took", buckets=(0.01, 0.1, 1, 10, 60, 600)
)
OUTCOME_UNKNOWN = Counter("scoreline_outcome_unknown_total", "Ratings whose call of line_provider has failed")
OUTBOX_MESSAGES = Gauge("scoreline_outbox_messages", "Ratings that are not settled yet")
OUTBOX_OLDEST_SECONDS = Gauge("scoreline_outbox_oldest_seconds", "Age of the oldest rating that is not settled yet")
DIVERGENT_EVENTS = Gauge("scoreline_divergent_events", "Events whose totals differ between the two services")
MENDED = Counter("scoreline_mended_scores_total", "Ratings that reconciliation found to differ", ["mending"])
# What is there from the start can be seen to grow from nothing.
for _mending in Mending:
    MENDED.labels(_mending)
for _verdict in (Verdict.APPLIED, Verdict.DUPLICATE):
    SETTLED.labels(_verdict, "")
FINALIZED = Counter("scoreline_finalized_events_total", "Events whose result this worker has made final")


def settled() -> dict[Outcome, int]:
    """How many ratings this process has settled, by verdict and reason."""
    return {
        (sample.labels["verdict"], sample.labels["reason"]): int(sample.value)
        for metric in SETTLED.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }
