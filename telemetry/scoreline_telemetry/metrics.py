"""Prometheus metrics of a service that speaks no HTTP otherwise, and what every service tells of its build."""

import platform
from importlib.metadata import version

from prometheus_client import Gauge, start_http_server

from scoreline_telemetry.settings import MetricsSettings

_BUILD = Gauge("scoreline_build_info", "The version that runs, always 1", ["service", "version", "python"])


def tell_build(service: str) -> None:
    _BUILD.labels(service, version(service), platform.python_version()).set(1)


def serve(service: str, settings: MetricsSettings) -> None:
    """Answers Prometheus from a thread of its own, where the settings name a port. Raises OSError."""
    tell_build(service)
    if settings.metrics_port is not None:
        start_http_server(settings.metrics_port)
