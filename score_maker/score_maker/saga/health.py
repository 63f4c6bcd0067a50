"""The health of the other two services, as each of them reports it."""

from typing import Any, Literal

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from score_maker.storage.redis import UNREACHABLE, RedisClient

# arq_worker refreshes this key every few seconds; it expires soon after the last worker has stopped.
WORKER_HEARTBEAT_KEY = "{scoreline}:arq:health-check"

LINE_PROVIDER_TIMEOUT_SECONDS = 1

LineProviderHealth = Literal["serving", "not serving", "unreachable"]
WorkerHealth = Literal["reporting", "silent", "unknown"]


async def line_provider_health(channel: grpc.aio.Channel) -> LineProviderHealth:
    """Returns what line_provider reports; `unreachable` if it does not answer within a second."""
    # Its type stubs leave out the calls.
    stub: Any = health_pb2_grpc.HealthStub(channel)
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=LINE_PROVIDER_TIMEOUT_SECONDS)
    except grpc.aio.AioRpcError:
        return "unreachable"
    return "serving" if answer.status == health_pb2.HealthCheckResponse.SERVING else "not serving"


async def worker_health(redis: RedisClient) -> WorkerHealth:
    """Tells whether some arq_worker has reported lately; `unknown` while Redis, where it reports, is unreachable.

    Workers relay ratings without Redis too.
    """
    try:
        return "reporting" if await redis.exists(WORKER_HEARTBEAT_KEY) else "silent"
    except UNREACHABLE:
        return "unknown"
