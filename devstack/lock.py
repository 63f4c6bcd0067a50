"""The lock by which one supervisor at a time owns a data folder; the kernel releases it when its holder dies."""

import fcntl
import os
from pathlib import Path

from devstack.processes import StackError


class AlreadyRunning(StackError):
    """Another supervisor owns the folder. `pid` is its process id, or None if it has not written that yet."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(f"the system is already running here, as process {pid}; `make down` stops it.")
        self.pid = pid


class FolderLock:
    """A lock that at most one process holds at a time; the file `lock` in the folder has its process id."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Acquires the lock without waiting. Raises AlreadyRunning if another process holds it."""
        while self._descriptor is None:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 20)
                os.close(descriptor)
                raise AlreadyRunning(int(holder) if holder else None) from None
            # After a reset has removed the file, a lock on the removed one does not exclude users of the new one.
            if self._is_current(descriptor):
                self._descriptor = descriptor
            else:
                os.close(descriptor)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Releases the lock if this process holds it."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._file.stat())
        except FileNotFoundError:
            return False
