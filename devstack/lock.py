"""Which supervisor a data folder belongs to: a lock that the kernel takes back when its holder dies."""

import fcntl
import os
from pathlib import Path

from devstack.processes import StackError


class AlreadyRunning(StackError):
    """Another supervisor, with the process id `pid` as far as it is known, holds the folder."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(f"it is running here already, as process {pid}; `make down` stops it.")
        self.pid = pid


class FolderLock:
    """Held by at most one process at a time; the file in the folder tells which."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises AlreadyRunning where somebody else holds it."""
        while self._descriptor is None:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 20)
                os.close(descriptor)
                raise AlreadyRunning(int(holder) if holder else None) from None
            # The lock of a file that a reset has removed meanwhile says nothing about its successor.
            if self._is_still_there(descriptor):
                self._descriptor = descriptor
            else:
                os.close(descriptor)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Gives it back; nothing happens where it is not held."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def _is_still_there(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._file.stat())
        except FileNotFoundError:
            return False
