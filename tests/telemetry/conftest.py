"""The whole system with all that it tells switched on."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from httpx import AsyncClient
from prometheus_client.parser import text_string_to_metric_families

from devstack.addresses import Address
from devstack.system import MANY_RATERS, System
from tests.telemetry.trace_collector import TraceCollector

SERVICES = ("LINE_PROVIDER", "SCORE_MAKER", "ARQ_WORKER")

# A sample's name and labels.
Key = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Metrics:
    """What all three tell Prometheus."""

    score_maker: Address
    line_provider: Address
    arq_worker: Address

    async def scraped(self) -> dict[Key, float]:
        async with AsyncClient() as client:
            texts = [
                (await client.get(f"http://{address}/metrics")).text
                for address in (self.score_maker, self.line_provider, self.arq_worker)
            ]
        samples = (
            sample for text in texts for family in text_string_to_metric_families(text) for sample in family.samples
        )
        return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


@pytest.fixture(scope="package")
async def collector() -> AsyncIterator[TraceCollector]:
    async with TraceCollector() as collector:
        yield collector


@pytest.fixture(scope="package")
def metrics() -> Metrics:
    return Metrics(Address.free(), Address.free(), Address.free())


@pytest.fixture(scope="package")
async def system(
    collector: TraceCollector, metrics: Metrics, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    settings = {
        **MANY_RATERS,
        **{f"{service}_OTLP_ENDPOINT": collector.endpoint for service in SERVICES},
        **{f"{service}_LOG_FORMAT": "json" for service in SERVICES},
        "LINE_PROVIDER_METRICS_PORT": str(metrics.line_provider.port),
        "ARQ_WORKER_METRICS_PORT": str(metrics.arq_worker.port),
        # The SDK's own: spans are sent at once, more or less.
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    async with System(tmp_path_factory.mktemp("observed"), http=metrics.score_maker, settings=settings) as system:
        yield system
