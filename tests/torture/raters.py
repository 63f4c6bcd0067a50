"""The load: raters who rate, change, withdraw and read, one request at a time each; some of them give up."""

import asyncio
import random
from base64 import urlsafe_b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from devstack.addresses import Address
from tests.torture.events import Event
from tests.torture.history import History, Key
from tests.torture.http_client import PATIENCE_SECONDS, Answer, Connection, ConnectionBroken, NoAnswer, NotSent

_RETRY_SECONDS = (0.02, 0.3)
_LITTLE_PATIENCE_SECONDS = (0, 0.03)
_PREFER_WAITING = "wait=2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How raters behave. `pause` is the longest time between two requests, in seconds; ratings are the shares' rest."""

    pause: float = 0.25
    withdrawals: float = 0.1
    reads: float = 0.2
    # The share of failed submissions that are retried. Of the others only the checker finds out what became of them.
    persistence: float = 0.7
    # The share of submissions on the same event as the rater's last one: changes that overtake each other.
    second_thoughts: float = 0.25
    # The share of requests whose clients hang up soon, mostly before there can be an answer.
    impatience: float = 0.01
    # The share of turns after which the rater leaves and a new one takes their place.
    farewells: float = 0
    # The share of submissions that wait for their outcome (`Prefer: wait`).
    waits: float = 0


@dataclass(frozen=True, slots=True)
class Manner:
    """How a request is made: how many seconds its client waits, and its header Prefer."""

    patience: float = PATIENCE_SECONDS
    prefer: str = ""


class Rater:
    """One rater with a token and a connection. `choose` picks the event to rate."""

    def __init__(
        self, address: Address, history: History, rng: random.Random, choose: Callable[[random.Random], Event]
    ) -> None:
        self._connection = Connection(address)
        self._history = history
        self._rng = rng
        self._choose = choose
        self._token = ""
        self._id = UUID(int=0)

    def close(self) -> None:
        self._connection.close()

    async def run(self, habits: Habits, stop: asyncio.Event) -> None:
        try:
            await self._introduce(stop)
            event_id = 0
            while not stop.is_set():
                if self._rng.random() < habits.farewells:
                    self._token = ""
                    await self._introduce(stop)
                if not event_id or self._rng.random() >= habits.second_thoughts:
                    event_id = self._choose(self._rng).event_id
                await self._act((event_id, self._id), habits, stop)
                await asyncio.sleep(self._rng.uniform(0, habits.pause))
        finally:
            self.close()

    async def rate(self, event: Event, value: int) -> None:
        """Submits one rating, and retries until the service answers."""
        await self._introduce(asyncio.Event())
        while not await self._submit((event.event_id, self._id), value, Manner()):
            await self._wait()

    async def _introduce(self, stop: asyncio.Event) -> None:
        """Gets a token. A retry may leave an unused one behind, which costs nothing."""
        while not stop.is_set() and not self._token:
            try:
                answer = await self._connection.request("POST", "/raters")
                self._token = answer.body["token"]
            except (NotSent, ConnectionBroken):
                await self._wait()
        encoded, _, _ = self._token.partition(".")
        if encoded:
            self._id = UUID(bytes=urlsafe_b64decode(encoded + "=="))

    async def _act(self, key: Key, habits: Habits, stop: asyncio.Event) -> None:
        deed = self._rng.random()
        is_patient = self._rng.random() >= habits.impatience
        patience = PATIENCE_SECONDS if is_patient else self._rng.uniform(*_LITTLE_PATIENCE_SECONDS)
        if deed < habits.reads:
            await self._read(key, Manner(patience))
            return
        value = None if deed < habits.reads + habits.withdrawals else self._rng.randint(1, 5)
        prefer = _PREFER_WAITING if habits.waits and self._rng.random() < habits.waits else ""
        manner = Manner(patience, prefer)
        while not await self._submit(key, value, manner):
            self._history.counts["retries"] += 1
            await self._wait()
            if stop.is_set() or self._rng.random() >= habits.persistence:
                return

    async def _submit(self, key: Key, value: int | None, manner: Manner) -> bool:
        """Whether the service has answered the submission, whichever way."""
        answer = await self._request("POST" if value is not None else "DELETE", key, value, manner)
        if answer is None:
            return False
        match answer.status:
            case 202:
                self._history.acknowledged(key, value, answer.body)
            case 200 if value is None and answer.body["state"] == "rejected":
                self._history.nothing_stood(key, answer.body)
            case 200 | 201 if manner.prefer or answer.status == 200:
                self._history.decided(key, value, answer.body, may_be_new=bool(manner.prefer))
            case 404 | 409 | 410 if manner.prefer and "score" in answer.body:
                self._history.rejected(key, value, answer.body["score"])
            case 404 if value is None and answer.body.get("type") == "/problems/score-not-found":
                self._history.saw_none(key)
            case 409 | 410:
                self._history.refusal(key, value, answer.body["type"].removeprefix("/problems/"))
            case 503:
                self._history.outcome_unknown(key, value, "503")
                return False
            case _:
                self._history.outcome_unknown(key, value, str(answer.status))
                self._history.unexpected(key, f"{answer.status} {answer.body}")
        return True

    async def _read(self, key: Key, manner: Manner) -> None:
        answer = await self._request("GET", key, None, manner)
        if answer is None:
            return
        match answer.status:
            case 200:
                self._history.saw(key, answer.body)
            case 404 if answer.body.get("type") == "/problems/score-not-found":
                self._history.saw_none(key)
            case 503:
                self._history.counts["reads unavailable"] += 1
            case _:
                self._history.unexpected(key, f"{answer.status} {answer.body}")

    async def _request(self, method: str, key: Key, value: int | None, manner: Manner) -> Answer | None:
        """None if there was no answer; a submission that was sent is then recorded as one of unknown outcome."""
        self._history.counts["requests"] += 1
        path, body = f"/events/{key[0]}/score", None if value is None else {"score": value}
        try:
            return await self._connection.request(
                method, path, token=self._token, prefer=manner.prefer, body=body, patience=manner.patience
            )
        except NotSent:
            self._history.counts["not sent: connection refused"] += 1
            return None
        except ConnectionBroken:
            if method != "GET":
                self._history.outcome_unknown(key, value, "the connection broke")
        except NoAnswer as error:
            if manner.patience == PATIENCE_SECONDS:
                self._history.unexpected(key, f"no answer to {error}")
            if method != "GET":
                self._history.hung_up(key, value)
        return None

    async def _wait(self) -> None:
        await asyncio.sleep(self._rng.uniform(*_RETRY_SECONDS))


async def load(raters: Sequence[Rater], habits: Habits, stop: asyncio.Event) -> None:
    """Runs all raters until `stop`; returns when each has its last answer."""
    async with asyncio.TaskGroup() as group:
        for rater in raters:
            group.create_task(rater.run(habits, stop))
