"""The dashboard and the alerts query only metrics and labels that the services publish."""

import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from httpx import AsyncClient

from devstack.system import System
from tests.support.rating import rate_accepted
from tests.support.waiting import Check
from tests.telemetry.conftest import Metrics

ROOT = Path(__file__).parent.parent.parent
ALERTS = ROOT / "observability" / "alerts.yaml"
PROMETHEUS = ROOT / "observability" / "prometheus.yaml"
DASHBOARD = ROOT / "observability" / "grafana" / "dashboards" / "scoreline.json"

# Prometheus itself adds them.
TARGET_LABELS = {"job", "instance"}
TARGET_METRICS = {"up"}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def expressions() -> dict[str, str]:
    """Every PromQL expression by the panel or alert that holds it."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = {f"{panel['title']} {target['refId']}": target["expr"] for panel in panels for target in panel["targets"]}
    # Grafana's own variable.
    shown = {name: expression.replace("$__rate_interval", "1m") for name, expression in asked.items()}
    return shown | {rule["alert"]: rule["expr"] for rule in rules()}


def selectors(node: Any) -> Iterator[tuple[str, set[str]]]:
    """Each metric of the expression, with the labels by which it is selected or grouped."""
    match node:
        case promql_parser.VectorSelector():
            yield node.name or "", {matcher.name for matcher in node.matchers.matchers}
        case promql_parser.MatrixSelector():
            yield from selectors(node.vector_selector)
        case promql_parser.AggregateExpr():
            grouped = set(node.modifier.labels) if node.modifier else set()
            yield from ((name, labels | grouped) for name, labels in selectors(node.expr))
        case promql_parser.Call():
            for argument in node.args:
                yield from selectors(argument)
        case promql_parser.BinaryExpr():
            yield from selectors(node.lhs)
            yield from selectors(node.rhs)
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield from selectors(node.expr)
        case promql_parser.NumberLiteral():
            pass
        case _:
            raise NotImplementedError(type(node).__name__)


async def test_every_query_is_answered_by_metrics_that_the_services_publish(
    system: System, metrics: Metrics, rater: AsyncClient, everything_settled: Check
) -> None:
    (event,) = (await rater.get("/events", params={"phase": "open", "limit": 1})).json()["events"]
    await rate_accepted(rater, event_id=event["event_id"])
    await everything_settled()
    published: dict[str, set[str]] = defaultdict(set)
    for name, pairs in await metrics.scraped():
        published[name] |= {label for label, _ in pairs}

    for place, expression in expressions().items():
        selected = list(selectors(promql_parser.parse(expression)))
        # Otherwise a kind of expression in which no metric is found would pass.
        assert selected, place
        for metric, labels in selected:
            if metric not in TARGET_METRICS:
                assert metric in published, f"{place}: no service publishes {metric}"
                assert labels <= published[metric] | TARGET_LABELS, f"{place}: {metric} has no {labels}"


def test_every_alert_says_what_to_do() -> None:
    headings = re.findall(r"^### (.+)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    for rule in rules():
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in {"critical", "warning"}
    assert [rule["alert"] for rule in rules()] == headings


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian's package prometheus) is not installed")
def test_prometheus_accepts_the_rules_and_its_configuration() -> None:
    # The configuration names the files as they lie in the container: their syntax is all that can be checked here.
    for arguments in (["rules", str(ALERTS)], ["config", "--syntax-only", str(PROMETHEUS)]):
        checked = subprocess.run(["promtool", "check", *arguments], check=False, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr
