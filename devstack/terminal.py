"""The launcher's output: its own messages and the services' logs, each line with the name of its source."""

import asyncio
import os
from typing import Never, TextIO

from devstack.processes import Process

_COLOURS = (36, 35, 33, 34, 32)
_POLL_SECONDS = 0.1
_NAME_WIDTH = len("line_provider_postgres")


class Terminal:
    """Writes to a stream, with colours if that is a terminal. After the terminal is closed, output is discarded: the
    system must not fail because nobody reads it any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._coloured = stream.isatty() and "NO_COLOR" not in os.environ
        self._colours: dict[str, int] = {}

    def say(self, sentence: str) -> None:
        self._write(f"scoreline: {sentence}")

    async def follow(self, process: Process) -> Never:
        """Shows the process's output as it is written. When cancelled, shows the rest of it before it ends."""
        while not process.was_started:
            await asyncio.sleep(_POLL_SECONDS)
        with process.log.open("rb") as log:
            try:
                while True:
                    self._show(process.name, log.readlines())
                    await asyncio.sleep(_POLL_SECONDS)
            finally:
                self._show(process.name, log.readlines())

    def _show(self, name: str, lines: list[bytes]) -> None:
        label = f"{name:{_NAME_WIDTH}} |"
        if self._coloured:
            colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
            label = f"\x1b[{colour}m{label}\x1b[0m"
        for line in lines:
            self._write(f"{label} {line.decode(errors='replace').rstrip()}")

    def _write(self, line: str) -> None:
        try:
            print(line, file=self._stream, flush=True)
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
