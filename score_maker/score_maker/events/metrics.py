"""Prometheus metrics of the events in memory."""

from prometheus_client import Counter, Gauge

LOOKUPS = Counter(
    "scoreline_event_cache_total",
    "Look-ups of an event: found in memory (hit), at line_provider (miss), nowhere (not_found), or unavailable",
    ["result"],
)
STALE = Gauge(
    "scoreline_events_stale",
    "1 while the watch of line_provider is disconnected and events may be out of date",
    multiprocess_mode="livemax",
)

# A series that exists from the start shows its growth from zero.
for _result in ("hit", "miss", "not_found", "unavailable"):
    LOOKUPS.labels(_result)

# Looking up a labelled counter costs several times what incrementing it does.
LOOKUP_HITS = LOOKUPS.labels("hit")
