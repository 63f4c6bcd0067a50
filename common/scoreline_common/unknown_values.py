"""Values of a newer neighbour that this version does not know: tolerated, counted, and logged once each.

Releases run beside the one before them, so an enum may have a value here that is not in this version's contract yet.
"""

import structlog
from prometheus_client import Counter

log = structlog.get_logger(__name__)

UNKNOWN_VALUES = Counter(
    "scoreline_unknown_values_total", "Enum values of a newer neighbour that this version does not know", ["field"]
)

# Logging each value once keeps a popular event from filling the log. Bounded, since a peer chooses the values.
_MOST_LOGGED = 100
_logged: set[tuple[str, object]] = set()


def report_unknown_value(field: str, value: int | str) -> None:
    """Counts an unknown value of a field such as "EventStatus", and logs it the first time."""
    UNKNOWN_VALUES.labels(field).inc()
    if (field, value) not in _logged and len(_logged) < _MOST_LOGGED:
        _logged.add((field, value))
        log.warning("unknown_value", field=field, value=value, hint="a neighbour is of a newer version")
