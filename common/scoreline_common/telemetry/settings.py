"""The settings of logs, traces and metrics, which all services share."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings


def _endpoint(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must look like http://collector:4317, or https:// for TLS")
    return value


class TelemetrySettings(BaseSettings):
    log_format: Literal["console", "json"] = "console"
    otlp_endpoint: Annotated[str, AfterValidator(_endpoint)] | None = None
    """Where traces are exported to, by OTLP over gRPC; without it there are none. The SDK also reads OTEL_..."""
    trace_ratio: float = Field(default=1, ge=0, le=1)
    """The share of requests that are traced, among those whose client does not send a trace of its own."""


class MetricsSettings(TelemetrySettings):
    """The settings of a service that serves no HTTP otherwise."""

    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """The port on which Prometheus finds the metrics; without it they are not served."""
