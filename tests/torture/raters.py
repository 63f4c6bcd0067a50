"""The load: raters who rate, change, withdraw and look, each one request at a time, and some of whom give up."""

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
    """How raters behave. `pause` is the longest between two requests; the shares add up to 1 with those of ratings."""

    pause: float = 0.25
    withdrawals: float = 0.1
    reads: float = 0.2
    # Otherwise they turn to something else, and what became of their word is found by the checker alone.
    persistence: float = 0.7
    # Of words on the event that the rater has spoken of last: changes that overtake each other.
    second_thoughts: float = 0.25
    # Of requests whose clients hang up before long, mostly before there can be an answer.
    impatience: float = 0.01
    # Of turns after which the rater goes, and somebody new comes.
    farewells: float = 0
    # Of words that would rather wait for what becomes of them.
    waits: float = 0


@dataclass(frozen=True, slots=True)
class Manner:
    """How a request is made: for how many seconds its client has patience, and what it prefers."""

    patience: float = PATIENCE_SECONDS
    prefer: str = ""


class Rater:
    """One rater with a token and a connection. `choose` picks the event to speak of."""

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
        """Says one word, again and again until it is heard."""
        await self._introduce(asyncio.Event())
        while not await self._say((event.event_id, self._id), value, Manner()):
            await self._wait()

    async def _introduce(self, stop: asyncio.Event) -> None:
        """A token that was minted in vain is nobody's loss: this is repeated without regret."""
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
            await self._look(key, Manner(patience))
            return
        value = None if deed < habits.reads + habits.withdrawals else self._rng.randint(1, 5)
        prefer = _PREFER_WAITING if habits.waits and self._rng.random() < habits.waits else ""
        manner = Manner(patience, prefer)
        while not await self._say(key, value, manner):
            self._history.counts["retries"] += 1
            await self._wait()
            if stop.is_set() or self._rng.random() >= habits.persistence:
                return

    async def _say(self, key: Key, value: int | None, manner: Manner) -> bool:
        """Answers whether the word was heard, whatever was said to it."""
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

    async def _look(self, key: Key, manner: Manner) -> None:
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
        """None where there was no answer; a word is then recorded as one of unknown outcome if it was sent."""
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
    """Has them all rate until `stop`; ends when each has its last answer."""
    async with asyncio.TaskGroup() as group:
        for rater in raters:
            group.create_task(rater.run(habits, stop))
