"""Serves Prometheus metrics of services without HTTP, and describes the build of every service."""

import platform
import sys
from importlib.metadata import version

from prometheus_client import Gauge, start_http_server

from scoreline_common.telemetry.settings import MetricsSettings

_BUILD = Gauge(
    "scoreline_build_info",
    "The version that runs, always 1",
    ["service", "version", "python"],
    multiprocess_mode="livemax",
)


def export_build_info(service: str) -> None:
    _BUILD.labels(service, version(service), platform.python_version()).set(1)


def serve(service: str, settings: MetricsSettings) -> None:
    """Serves metrics from a thread of its own, if the settings name a port.

    If the port cannot be bound, the process ends with exit code 2 and one line that names the variable.
    """
    export_build_info(service)
    if settings.metrics_port is None:
        return
    try:
        start_http_server(settings.metrics_port)
    except OSError as error:
        variable = f"{settings.model_config.get('env_prefix', '')}METRICS_PORT"
        print(f"{variable}: cannot listen on port {settings.metrics_port}: {error.strerror}", file=sys.stderr)
        raise SystemExit(2) from None
