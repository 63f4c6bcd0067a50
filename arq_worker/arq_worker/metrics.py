"""The metrics of the worker."""

from prometheus_client import Counter, Gauge, Histogram

from score_maker.ratings.domain import Repair, Verdict
from score_maker.saga.throughput import Outcome

SETTLED = Counter("scoreline_settled_total", "Messages settled by a verdict of line_provider", ["verdict", "reason"])
SAGA_SECONDS = Histogram(
    "scoreline_saga_seconds",
    "Time from the acceptance of a version to its settlement",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200),
)
LINE_PROVIDER_UNAVAILABLE = Gauge(
    "scoreline_line_provider_unavailable", "1 while the circuit breaker is open and the outbox waits"
)
RECONCILIATION_SECONDS = Histogram(
    "scoreline_reconciliation_seconds", "Duration of the passes of reconciliation", buckets=(0.01, 0.1, 1, 10, 60, 600)
)
OUTCOME_UNKNOWN = Counter(
    "scoreline_outcome_unknown_total", "Messages on which an attempt got no verdict, so that they are retried"
)
OUTBOX_MESSAGES = Gauge("scoreline_outbox_messages", "Messages that are not settled yet")
OUTBOX_OLDEST_SECONDS = Gauge("scoreline_outbox_oldest_seconds", "Age of the oldest message; 0 if there is none")
DIVERGENT_EVENTS = Gauge("scoreline_divergent_events", "Events whose totals differ between the two services")
REPAIRED = Counter("scoreline_repaired_scores_total", "Scores that reconciliation found to differ", ["repair"])
HEARTBEAT_AGE = Gauge(
    "scoreline_heartbeat_age_seconds", "Time since the event loop last ran; a thread reports it even if the loop hangs"
)
# Prometheus sees the first increase of a counter only if the counter was there before, at 0.
for _repair in Repair:
    REPAIRED.labels(_repair)
for _verdict in (Verdict.APPLIED, Verdict.DUPLICATE):
    SETTLED.labels(_verdict, "")
FINALIZED = Counter("scoreline_finalized_events_total", "Events whose result this worker has made final")


def settled() -> dict[Outcome, int]:
    """Returns how many messages this process has settled, by verdict and reason."""
    return {
        (sample.labels["verdict"], sample.labels["reason"]): int(sample.value)
        for metric in SETTLED.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }
