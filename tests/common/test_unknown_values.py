"""Values of a newer neighbour are counted each time and logged once."""

import secrets

from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from scoreline_common import unknown_values
from scoreline_common.unknown_values import report_unknown_value


def counted(field: str) -> float:
    return REGISTRY.get_sample_value("scoreline_unknown_values_total", {"field": field}) or 0


def test_an_unknown_value_is_counted_each_time_and_logged_once() -> None:
    field = f"Verdict-{secrets.token_hex(4)}"
    with capture_logs() as logs:
        for value in (7, 7, 8, 7):
            report_unknown_value(field, value)
    assert counted(field) == 4
    assert [(line["field"], line["value"]) for line in logs] == [(field, 7), (field, 8)]


def test_a_peer_that_keeps_inventing_values_does_not_fill_the_log() -> None:
    field = f"Status-{secrets.token_hex(4)}"
    with capture_logs() as logs:
        for value in range(1_000):
            report_unknown_value(field, value)
    assert counted(field) == 1_000
    assert len(logs) <= unknown_values._MOST_LOGGED
