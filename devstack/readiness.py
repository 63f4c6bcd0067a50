"""Probes that ask a running service whether it is ready."""

import http.client
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from devstack.addresses import Address

_TIMEOUT_SECONDS = 2


def answers_200(address: Address, path: str) -> bool:
    """Whether a GET of the path is answered with 200. Blocks, for two seconds at most."""
    connection = http.client.HTTPConnection(*address, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


async def serves_grpc(address: str) -> bool:
    """Whether the gRPC health service at the address reports SERVING, without TLS."""
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        # The package's type stubs lack the calls.
        health: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
