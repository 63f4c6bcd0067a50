"""Redis, or a Redis cluster: code that keeps the keys of a command under one hash tag works with either."""

from typing import Annotated, Any

import hiredis
from pydantic import AfterValidator, SecretStr
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.commands.core import AsyncScript
from redis.exceptions import RedisClusterException, RedisError

CLUSTER_SCHEMES = ("redis+cluster://", "rediss+cluster://")

RedisClient = Redis | RedisCluster

# The exceptions that say that Redis, or the cluster node that owns the key, does not answer.
UNREACHABLE = (RedisError, RedisClusterException, OSError, TimeoutError)


def _redis_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("redis://", "rediss://", "unix://", *CLUSTER_SCHEMES)):
        raise ValueError(f"must start with redis://, rediss:// or unix://, or {' or '.join(CLUSTER_SCHEMES)}")
    return value


RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]


class _Packing(AbstractConnection):
    """Packs commands with hiredis, as redis-py does only for clients that are not asynchronous."""

    def pack_command(self, *args: Any) -> list[bytes]:
        words = args[0].split()
        return [hiredis.pack_command((*words, *args[1:]))]


def is_cluster(url: str) -> bool:
    """Tells whether the URL names one node of a cluster, through which the others are found."""
    return url.startswith(CLUSTER_SCHEMES)


def node_url(cluster_url: str) -> str:
    """Returns the URL of the same node as a single Redis."""
    return cluster_url.replace("+cluster", "", 1)


async def owner_of(cluster_url: str, key: str, *, timeout_seconds: float) -> tuple[str, int]:
    """Returns host and port of the node that owns the key now. Raises one of UNREACHABLE."""
    async with RedisCluster.from_url(
        node_url(cluster_url), socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds
    ) as cluster:
        owner = cluster.get_node_from_key(key)
    if owner is None:
        raise RedisClusterException(f"no node of the cluster owns {key}")
    return str(owner.host), int(owner.port)


def open_redis(url: str, *, timeout_seconds: float) -> RedisClient:
    """Returns a client that connects on first use; connecting and answers take no longer than the timeout."""
    client: RedisClient
    if is_cluster(url):
        client = RedisCluster.from_url(
            node_url(url), socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds
        )
    else:
        client = Redis.from_url(url, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds)
        kind = client.connection_pool.connection_class
        client.connection_pool.connection_class = type("Packing", (_Packing, kind), {})
    return client


def register_script(client: RedisClient, script: str | bytes) -> AsyncScript:
    """Returns the script as a callable; its text is sent only to servers that do not know it yet."""
    return client.register_script(script)  # type: ignore[misc]  # its types leave out the cluster
