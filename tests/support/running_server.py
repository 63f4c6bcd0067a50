"""Runs line_provider's server in this process, with a client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from line_provider.grpc_server.server import LineProviderServer
from scoreline.line_provider.v1 import events_pb2_grpc, scores_pb2_grpc
from scoreline_common.database import create_engine

ADMIN_TOKEN = "a-token-for-the-admin"
NEXT_ADMIN_TOKEN = "the-next-token-of-the-admin"
WORKER_TOKEN = "a-token-for-the-worker"

ADMIN = (("authorization", f"Bearer {ADMIN_TOKEN}"),)
NEXT_ADMIN = (("authorization", f"Bearer {NEXT_ADMIN_TOKEN}"),)
WORKER = (("authorization", f"Bearer {WORKER_TOKEN}"),)


@dataclass
class RunningServer:
    channel: grpc.aio.Channel
    stop: asyncio.Event
    stopped: asyncio.Task[None]
    address: str
    probes_address: str

    @property
    def events(self) -> "events_pb2_grpc.EventServiceAsyncStub":
        return events_pb2_grpc.EventServiceStub(self.channel)

    @property
    def scores(self) -> "scores_pb2_grpc.ScoreServiceAsyncStub":
        return scores_pb2_grpc.ScoreServiceStub(self.channel)

    async def reports(self, status: int, *, service: str = "") -> None:
        """Waits until the health service reports this status for the service."""
        stub: Any = health_pb2_grpc.HealthStub(self.channel)
        call = stub.Watch(health_pb2.HealthCheckRequest(service=service))
        while (await call.read()).status != status:
            pass
        call.cancel()


@asynccontextmanager
async def serving(
    database_url: str,
    *,
    high_score_from: Decimal = Decimal(3),
    credentials: grpc.ServerCredentials | None = None,
    trusting: grpc.ChannelCredentials | None = None,
) -> AsyncIterator[RunningServer]:
    """A server on a free port, with TLS if credentials are given, and a client. Leaving the context stops it."""
    engine = create_engine(database_url)
    server = LineProviderServer(
        engine,
        admin_tokens=[ADMIN_TOKEN, NEXT_ADMIN_TOKEN],
        worker_tokens=[WORKER_TOKEN],
        high_score_from=high_score_from,
    )
    port = server.listen("127.0.0.1:0", credentials)
    probes_port = server.listen_for_probes("127.0.0.1:0")
    stop = asyncio.Event()
    running = asyncio.create_task(server.run(stop, grace=5))
    address = f"127.0.0.1:{port}"
    open_channel = (
        grpc.aio.insecure_channel(address) if trusting is None else grpc.aio.secure_channel(address, trusting)
    )
    async with open_channel as channel:
        yield RunningServer(channel, stop, running, address, f"127.0.0.1:{probes_port}")
        stop.set()
        await running
    await engine.dispose()
