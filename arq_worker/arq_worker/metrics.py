"""What the worker tells Prometheus."""

from prometheus_client import Counter, Gauge

from score_maker.throughput import Outcome

SETTLED = Counter("scoreline_settled_total", "Ratings that line_provider has ruled on", ["verdict", "reason"])
OUTCOME_UNKNOWN = Counter("scoreline_outcome_unknown_total", "Ratings whose call of line_provider has failed")
OUTBOX_MESSAGES = Gauge("scoreline_outbox_messages", "Ratings that are not settled yet")
OUTBOX_OLDEST_SECONDS = Gauge("scoreline_outbox_oldest_seconds", "Age of the oldest rating that is not settled yet")
DIVERGENT_EVENTS = Gauge("scoreline_divergent_events", "Events whose totals differ between the two services")
MENDED = Counter("scoreline_mended_scores_total", "Ratings that reconciliation found to differ", ["mending"])
FINALIZED = Counter("scoreline_finalized_events_total", "Events whose result this worker has made final")


def settled() -> dict[Outcome, int]:
    """How many ratings this process has settled, by verdict and reason."""
    return {
        (sample.labels["verdict"], sample.labels["reason"]): int(sample.value)
        for metric in SETTLED.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }
