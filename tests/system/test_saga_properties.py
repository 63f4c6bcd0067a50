"""The saga against a small model.

Ratings are submitted, claimed, delivered, lost, repeated and settled, and events are cancelled, in any order. In the
end every rating is decided, and both databases agree with the model.

The tests run both services' own use cases on real databases. Only the network between them, where the faults are, is
simulated.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import line_provider.storage.migrate
import score_maker.storage.migrate
from devstack.postgres import Postgres
from line_provider.events.changes import cancel_event, create_missing_events
from line_provider.events.domain import EventDraft
from line_provider.scores.apply import apply_scores
from line_provider.scores.domain import ScoreChange
from score_maker.ratings import accept, queries
from score_maker.ratings.accept import Submission
from score_maker.ratings.domain import Outcome, Reason, Refusal, Score, State, Unchanged, Verdict
from score_maker.saga import outbox
from score_maker.saga.outbox import Claim, OutboxMessage
from score_maker.saga.settlement import DecidedMessage, settle_decided

T = TypeVar("T")
Key = tuple[int, UUID]

RATERS = [UUID(int=number) for number in (1, 2, 3)]
EVENTS = 2
LONG = timedelta(hours=1)


@pytest.fixture(scope="session")
async def databases(postgres: Postgres) -> tuple[str, str]:
    ours = await postgres.create_database("saga_scores", owner="saga_scores", password="secret")
    theirs = await postgres.create_database("saga_events", owner="saga_events", password="secret")
    await score_maker.storage.migrate.migrate(ours)
    await line_provider.storage.migrate.migrate(theirs)
    return ours, theirs


@dataclass(eq=False)
class Flight:
    """A claimed batch, and line_provider's decisions once they have arrived."""

    claim: Claim
    decisions: list[DecidedMessage] | None = None


class Saga(RuleBasedStateMachine):
    ours_url = theirs_url = ""

    flights = Bundle("flights")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.ours: AsyncEngine = create_async_engine(self.ours_url, pool_size=1)
        self.theirs: AsyncEngine = create_async_engine(self.theirs_url, pool_size=1)
        self.submitted: dict[Key, list[int | None]] = {}
        self.cancelled: set[int] = set()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def empty_both_databases(self) -> None:
        async def empty() -> list[int]:
            async with self.ours.begin() as connection:
                await connection.execute(text("TRUNCATE scores, scores_outbox, final_results"))
            now = datetime.now(UTC)
            drafts = [
                EventDraft(title=f"event {number}", description="", starts_at=now, deadline=now + LONG)
                for number in range(EVENTS)
            ]
            async with self.theirs.begin() as connection:
                await connection.execute(text("TRUNCATE events, applied_scores"))
                return [event.event_id for event in await create_missing_events(connection, drafts)]

        self.event_ids = self.run(empty())

    @rule(event=st.integers(0, EVENTS - 1), rater=st.sampled_from(RATERS), value=st.none() | st.integers(1, 5))
    def submit(self, event: int, rater: UUID, value: int | None) -> None:
        """A rater submits, while score_maker does not know of any cancellation yet."""

        async def submit() -> Outcome:
            async with self.ours.begin() as connection:
                before = await queries.get(connection, event_id, rater)
                (outcome,) = await accept.submit(
                    connection, [Submission(event_id=event_id, rater_id=rater, value=value, deadline=None)]
                )
            assert (outcome is Refusal.NOTHING_TO_WITHDRAW) == (value is None and before is None)
            is_repetition = (
                before is not None
                and before.value == value
                and (value is None or before.state in {State.PENDING, State.CONFIRMED})
            )
            assert isinstance(outcome, Unchanged) == is_repetition
            assert not is_repetition or outcome == Unchanged(before)  # type: ignore[arg-type]
            return outcome

        event_id = self.event_ids[event]
        outcome = self.run(submit())
        if isinstance(outcome, Score):
            values = self.submitted.setdefault((event_id, rater), [])
            values.append(value)
            assert (outcome.value, outcome.version, outcome.state) == (value, len(values), State.PENDING)

    @rule(target=flights, limit=st.integers(1, 4), lease=st.sampled_from((LONG, timedelta(0))))
    def claim(self, limit: int, lease: timedelta) -> Any:
        claim = self.run(self._claim(limit, lease))
        return Flight(claim) if claim.messages else multiple()

    @rule(flight=flights, reply_is_lost=st.booleans(), data=st.data())
    def deliver(self, flight: Flight, reply_is_lost: bool, data: st.DataObject) -> None:
        """line_provider receives the batch in any order, perhaps not for the first time."""
        messages = data.draw(st.permutations(flight.claim.messages))
        decisions = self.run(self._apply(messages))
        if not reply_is_lost:
            flight.decisions = decisions

    @rule(flight=flights)
    def settle(self, flight: Flight) -> None:
        """The worker settles by the decisions that it received, perhaps repeatedly, perhaps long after its lease."""
        if flight.decisions is not None:
            self.run(self._settle(flight.claim, flight.decisions))

    @rule()
    def leases_expire(self) -> None:
        self.run(self._execute(self.ours, "UPDATE scores_outbox SET next_attempt_at = now()"))

    @rule(event=st.integers(0, EVENTS - 1))
    def cancel(self, event: int) -> None:
        async def cancel() -> None:
            async with self.theirs.begin() as connection:
                await cancel_event(connection, self.event_ids[event])

        self.run(cancel())
        self.cancelled.add(self.event_ids[event])

    @invariant()
    def the_totals_are_those_of_the_applied_ratings(self) -> None:
        differing = """
            SELECT event_id FROM events
            LEFT JOIN (
                SELECT event_id, count(value) AS count, sum(value) AS sum FROM applied_scores GROUP BY event_id
            ) AS rebuilt USING (event_id)
            WHERE (score_count, score_sum) <> (coalesce(rebuilt.count, 0), coalesce(rebuilt.sum, 0))
        """
        assert self.run(self._execute(self.theirs, differing)) == []

    @invariant()
    def only_applied_ratings_are_confirmed(self) -> None:
        confirmed = self._confirmed()
        applied = self._applied()
        for key, (version, _) in confirmed.items():
            assert applied[key][0] >= version

    def teardown(self) -> None:
        try:
            if hasattr(self, "event_ids"):
                self._heal()
                self._check()
        finally:
            self.run(self.ours.dispose())
            self.run(self.theirs.dispose())
            self.runner.close()

    def _heal(self) -> None:
        """Runs the relay without faults until the outbox is empty."""
        self.leases_expire()
        while (claim := self.run(self._claim(100, LONG))).messages:
            self.run(self._settle(claim, self.run(self._apply(claim.messages))))

    def _check(self) -> None:
        rows = self.run(self._execute(self.ours, "SELECT event_id, rater_id, version, value, state FROM scores"))
        assert {(row.event_id, row.rater_id): row.version for row in rows} == {
            key: len(values) for key, values in self.submitted.items()
        }
        confirmed = self._confirmed()
        assert confirmed == self._applied()
        for row in rows:
            key, values = (row.event_id, row.rater_id), self.submitted[row.event_id, row.rater_id]
            assert row.state != "pending"
            assert row.value == confirmed.get(key, (0, None))[1]
            if row.state == "rejected":
                assert row.event_id in self.cancelled
            else:
                assert confirmed[key] == (len(values), values[-1])

    def _confirmed(self) -> dict[Key, tuple[int, int | None]]:
        statement = "SELECT * FROM scores WHERE confirmed_version IS NOT NULL"
        rows = self.run(self._execute(self.ours, statement))
        return {(row.event_id, row.rater_id): (row.confirmed_version, row.confirmed_value) for row in rows}

    def _applied(self) -> dict[Key, tuple[int, int | None]]:
        rows = self.run(self._execute(self.theirs, "SELECT * FROM applied_scores"))
        return {(row.event_id, row.rater_id): (row.version, row.value) for row in rows}

    async def _execute(self, engine: AsyncEngine, statement: str) -> list[Any]:
        async with engine.begin() as connection:
            result = await connection.execute(text(statement))
            return list(result) if result.returns_rows else []

    async def _claim(self, limit: int, lease: timedelta) -> Claim:
        async with self.ours.begin() as connection:
            return await outbox.claim(connection, limit=limit, lease=lease)

    async def _apply(self, messages: list[OutboxMessage]) -> list[DecidedMessage]:
        changes = [
            ScoreChange(
                event_id=m.event_id,
                rater_id=m.rater_id,
                value=m.value,
                version=m.version,
                accepted_at=m.accepted_at,
            )
            for m in messages
        ]
        async with self.theirs.begin() as connection:
            results = await apply_scores(connection, changes, high_score_from=Decimal(3))
        return [
            DecidedMessage(message, Verdict(result.verdict), None if result.reason is None else Reason(result.reason))
            for message, result in zip(messages, results, strict=True)
        ]

    async def _settle(self, claim: Claim, decisions: list[DecidedMessage]) -> None:
        async with self.ours.begin() as connection:
            await settle_decided(connection, claim.lease_token, decisions)


def test_every_rating_is_decided_and_both_databases_agree_whatever_faults_occur(
    databases: tuple[str, str],
) -> None:
    Saga.ours_url, Saga.theirs_url = databases
    run_state_machine_as_test(Saga, settings=settings(max_examples=25, stateful_step_count=40, deadline=None))
