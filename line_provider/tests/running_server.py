"""line_provider's server in this process, with its clients."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from line_provider.database import create_engine
from line_provider.grpc_server.server import LineProviderServer
from scoreline.line_provider.v1 import events_pb2_grpc, scores_pb2_grpc

ADMIN_TOKEN = "a-token-for-the-admin"
WORKER_TOKEN = "a-token-for-the-worker"

ADMIN = (("authorization", f"Bearer {ADMIN_TOKEN}"),)
WORKER = (("authorization", f"Bearer {WORKER_TOKEN}"),)


@dataclass
class RunningServer:
    channel: grpc.aio.Channel
    stop: asyncio.Event
    stopped: asyncio.Task[None]

    @property
    def events(self) -> "events_pb2_grpc.EventServiceAsyncStub":
        return events_pb2_grpc.EventServiceStub(self.channel)

    @property
    def scores(self) -> "scores_pb2_grpc.ScoreServiceAsyncStub":
        return scores_pb2_grpc.ScoreServiceStub(self.channel)

    async def reports(self, status: int, *, service: str = "") -> None:
        """Returns once the service reports the status as its health."""
        stub: Any = health_pb2_grpc.HealthStub(self.channel)
        call = stub.Watch(health_pb2.HealthCheckRequest(service=service))
        while (await call.read()).status != status:
            pass
        call.cancel()


@asynccontextmanager
async def serving(database_url: str, *, high_score_from: Decimal = Decimal(3)) -> AsyncIterator[RunningServer]:
    """A server on a port of its own; leaving stops it."""
    engine = create_engine(database_url)
    server = LineProviderServer(
        engine, admin_token=ADMIN_TOKEN, worker_token=WORKER_TOKEN, high_score_from=high_score_from
    )
    port = server.listen("127.0.0.1:0")
    stop = asyncio.Event()
    running = asyncio.create_task(server.run(stop, grace=5))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield RunningServer(channel, stop, running)
        stop.set()
        await running
    await engine.dispose()
