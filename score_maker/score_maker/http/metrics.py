"""Prometheus metrics of requests, and the registry that GET /metrics shows."""

import os
from functools import cache

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

# If this environment variable names a folder, prometheus_client keeps the metrics of each process in files there.
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

REQUESTS = Counter("scoreline_http_requests_total", "Requests answered", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "scoreline_http_request_seconds",
    "Duration of requests, except streams and those that wait for a verdict",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
LISTING_CACHE = Counter(
    "scoreline_listing_cache_total", "Listings of events that were cached (hit) or rendered (miss)", ["result"]
)
STREAM_LISTENERS = Gauge("scoreline_stream_listeners", "Subscribers of GET /events/stream", multiprocess_mode="livesum")


def registry() -> CollectorRegistry:
    """Returns the metrics of this process or, if several serve on the port, of all of them together."""
    if METRICS_FOLDER not in os.environ:
        return REGISTRY
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together


@cache
def request_counter(method: str, route: str, status: str) -> Counter:
    """Caches the labelled counter: looking it up in the library costs several times what incrementing it does."""
    return REQUESTS.labels(method, route, status)


@cache
def request_histogram(method: str, route: str) -> Histogram:
    return REQUEST_SECONDS.labels(method, route)


# A series that exists from the start shows its growth from zero.
for _result in ("hit", "miss"):
    LISTING_CACHE.labels(_result)

LISTING_CACHE_HITS = LISTING_CACHE.labels("hit")
