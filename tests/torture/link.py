"""A link between two processes that can be cut, closed, slowed down, swallowed and watched: a TCP proxy on loopback.

On a link to line_provider, a fault can wait for a batch of ratings, or for the verdicts on it, and hold them while it
strikes.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack.addresses import Address
from tests.torture.frames import Conversation, Traffic

_CHUNK = 64 * 1024


class Moment(Enum):
    """What a link can be watched for. It is held just before it passes."""

    REQUEST = auto()
    REPLY = auto()


class Caught:
    """A chunk that is held on its way from or to the client at `port` of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._verdict: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._gone = asyncio.Event()

    async def let_go(self) -> None:
        """Lets it pass. Returns once it is on its way, or its connection has ended."""
        self._resolve(passes=True)
        await self._gone.wait()

    def cut(self) -> None:
        """Swallows it, and ends the connection."""
        self._resolve(passes=False)

    def _resolve(self, *, passes: bool) -> None:
        if not self._verdict.done():
            self._verdict.set_result(passes)

    async def may_pass(self) -> bool:
        return await self._verdict

    def has_gone(self) -> None:
        self._gone.set()


class Link:
    """Listens at `address` and forwards everything to `target`. An async context manager.

    The target is line_provider's address, or the unix socket of a database, whose traffic the link does not parse.
    """

    def __init__(self, target: Address | Path) -> None:
        self.address = Address.free()
        self.traffic = Traffic()
        self._target = target
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._watches: dict[Moment, list[asyncio.Future[Caught]]] = {moment: [] for moment in Moment}
        self._open = asyncio.Event()
        self._open.set()
        self._delay = 0.0
        self._swallowed: frozenset[Moment] = frozenset()
        self._drops_replies = False

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop_listening()
        await self.cut()

    async def cut(self) -> None:
        """Ends all connections; new ones are accepted."""
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        if connections:
            await asyncio.wait(connections)

    @asynccontextmanager
    async def refusing(self) -> AsyncIterator[None]:
        """Connections are refused."""
        self._stop_listening()
        await self.cut()
        try:
            yield
        finally:
            await self._listen()

    @asynccontextmanager
    async def slow(self, seconds: float) -> AsyncIterator[None]:
        """Everything is delayed by so many seconds, in both directions."""
        self._delay = seconds
        try:
            yield
        finally:
            self._delay = 0.0

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Nothing passes until the end, and then everything does."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    @asynccontextmanager
    async def half_open(self) -> AsyncIterator[None]:
        """Connections are accepted and kept, and everything that is sent is lost."""
        async with self._swallowing(*Moment):
            yield

    @asynccontextmanager
    async def deaf(self) -> AsyncIterator[None]:
        """All requests arrive and are carried out, and every reply is lost."""
        async with self._swallowing(Moment.REPLY):
            yield

    @asynccontextmanager
    async def dropping_replies(self) -> AsyncIterator[None]:
        """Batches are applied, and their connections are cut before the verdicts pass."""
        self._drops_replies = True
        try:
            yield
        finally:
            self._drops_replies = False

    @asynccontextmanager
    async def caught(self, moment: Moment) -> AsyncIterator[Caught]:
        """Waits for the moment and holds it. A chunk that is not let go is cut at the end."""
        watch: asyncio.Future[Caught] = asyncio.get_running_loop().create_future()
        self._watches[moment].append(watch)
        try:
            caught = await watch
        finally:
            with suppress(ValueError):
                self._watches[moment].remove(watch)
        try:
            yield caught
        finally:
            caught.cut()

    @asynccontextmanager
    async def _swallowing(self, *moments: Moment) -> AsyncIterator[None]:
        self._swallowed = frozenset(moments)
        try:
            yield
        finally:
            await self.cut()
            self._swallowed = frozenset()
            # The connections that were made meanwhile have lost what they sent.
            await self.cut()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, *self.address)

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        far_writer: asyncio.StreamWriter | None = None
        try:
            far_reader, far_writer = await self._connect()
            port = writer.get_extra_info("peername")[1]
            conversation = None if isinstance(self._target, Path) else Conversation(self.traffic)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer, conversation, Moment.REQUEST, port))
                group.create_task(self._pump(far_reader, writer, conversation, Moment.REPLY, port))
        except (asyncio.CancelledError, OSError, ExceptionGroup):
            pass  # The connection has ended, for whichever reason; a handler has no caller to report it to.
        finally:
            self._connections.discard(task)
            for end in (writer, far_writer):
                if end is not None:
                    end.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection(*self._target)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        conversation: Conversation | None,
        moment: Moment,
        port: int,
    ) -> None:
        while chunk := await reader.read(_CHUNK):
            if moment in self._swallowed:
                continue
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._open.wait()
            caught = None
            if conversation is not None and conversation.passes(chunk, to_server=moment is Moment.REQUEST):
                if moment is Moment.REPLY and self._drops_replies:
                    break
                caught = self._catch(moment, port)
            try:
                if caught is not None and not await caught.may_pass():
                    break
                writer.write(chunk)
                await writer.drain()
            finally:
                if caught is not None:
                    caught.has_gone()
        # When one direction ends, the group ends the other one too.
        raise ConnectionResetError

    def _catch(self, moment: Moment, port: int) -> Caught | None:
        watches = self._watches[moment]
        while watches:
            watch = watches.pop(0)
            if not watch.done():
                caught = Caught(port)
                watch.set_result(caught)
                return caught
        return None
