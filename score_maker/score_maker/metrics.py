"""What score_maker tells Prometheus."""

import os
from functools import cache

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from score_maker.ratings.domain import Refusal

# By which prometheus_client keeps what a process counts in files that the others can read.
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

REQUESTS = Counter("scoreline_http_requests_total", "Requests answered", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "scoreline_http_request_seconds",
    "How long requests took, those left out that wait for a verdict or are streams",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
SUBMISSIONS = Counter(
    "scoreline_submissions_total",
    "Ratings and withdrawals, by what they came to: accepted, unchanged, or why not",
    ["outcome"],
)
GROUP_SIZE = Histogram(
    "scoreline_commit_group_size",
    "Ratings that shared one transaction",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000),
)
EVENT_CACHE = Counter(
    "scoreline_event_cache_total", "Looking up an event: in memory, of line_provider, or in vain", ["result"]
)
LISTING_CACHE = Counter(
    "scoreline_listing_cache_total", "Listings of events that were kept (hit) or made (miss)", ["result"]
)
EVENTS_STALE = Gauge(
    "scoreline_events_stale",
    "1 while line_provider is not heard and its events may be out of date",
    multiprocess_mode="livemax",
)
STREAM_LISTENERS = Gauge(
    "scoreline_stream_listeners", "Who is told of changes by GET /events/stream", multiprocess_mode="livesum"
)


def registry() -> CollectorRegistry:
    """What there is to tell: where several processes serve, what they have counted together."""
    if METRICS_FOLDER not in os.environ:
        return REGISTRY
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together


@cache
def request_counter(method: str, route: str, status: str) -> Counter:
    """Prometheus's own way to it costs several times what counting does."""
    return REQUESTS.labels(method, route, status)


@cache
def request_histogram(method: str, route: str) -> Histogram:
    return REQUEST_SECONDS.labels(method, route)


@cache
def submission_counter(outcome: str) -> Counter:
    return SUBMISSIONS.labels(outcome)


# What is there from the start can be seen to grow from nothing.
for _outcome in ("accepted", "unchanged", "other_version", *Refusal):
    submission_counter(_outcome)
for _result in ("hit", "miss"):
    LISTING_CACHE.labels(_result)
for _result in ("hit", "miss", "vain"):
    EVENT_CACHE.labels(_result)

EVENT_CACHE_HITS = EVENT_CACHE.labels("hit")
LISTING_CACHE_HITS = LISTING_CACHE.labels("hit")
