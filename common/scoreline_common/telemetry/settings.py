"""What every service can be told about what it tells."""

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
    """Where traces go, by OTLP over gRPC; without it there are none. The SDK's own OTEL_... variables say the rest."""
    trace_ratio: float = Field(default=1, ge=0, le=1)
    """The share of requests that are traced, of those that do not come with a trace of their own."""


class MetricsSettings(TelemetrySettings):
    """Of a service that speaks no HTTP otherwise."""

    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Where Prometheus finds its metrics; nowhere unless it is set."""
