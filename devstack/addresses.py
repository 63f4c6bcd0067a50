"""Addresses of servers: TCP addresses, and folders for unix sockets."""

import atexit
import os
import re
import shutil
import socket
import tempfile
from pathlib import Path
from typing import NamedTuple, Self

# The kernel limits the path of a socket to 107 bytes on Linux and 103 on macOS; the longest name is .s.PGSQL.5432.
_LONGEST_FOLDER = 103 - len("/.s.PGSQL.5432")
# Socket paths become part of URLs, and not every client unquotes those.
_PLAIN = re.compile(r"[A-Za-z0-9_./+-]+")


class Address(NamedTuple):
    """A TCP address on which a server listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parses HOST:PORT or [HOST]:PORT. Raises ValueError."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise ValueError(f"{text!r} is not HOST:PORT with a port from 1 to 65535")
        return cls(host.strip("[]"), int(port))

    @classmethod
    def free(cls) -> Self:
        """Returns a loopback address whose port is free now."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            return cls("127.0.0.1", probe.getsockname()[1])

    @property
    def local(self) -> "Address":
        """The address by which clients on this machine connect, also if the server listens on all interfaces."""
        return Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host), self.port)  # noqa: S104

    def bind_error(self) -> str | None:
        """The operating system's reason why a server could not listen here; None if it could."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            # Unlike a gRPC server, this socket does not share its port, so that it detects another server.
            socket.create_server((self.host, self.port), family=family).close()
        except OSError as error:
            return os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
        return None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def socket_folder(wanted: Path) -> Path:
    """Returns `wanted` if clients can reach a socket in it; else a new private folder with a short path, which is
    removed when this process ends."""
    if _is_suitable(wanted):
        return wanted
    temporary = next((path for path in (Path(tempfile.gettempdir()), Path("/tmp")) if _is_suitable(path)), None)  # noqa: S108
    folder = Path(tempfile.mkdtemp(prefix="scoreline-", dir=temporary))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _is_suitable(folder: Path) -> bool:
    path = str(folder)
    return len(path) <= _LONGEST_FOLDER and _PLAIN.fullmatch(path) is not None
