"""The relay with a line_provider that fails on demand; the database and the rights of the worker are real."""

import asyncio
import socket
from datetime import timedelta

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from arq_worker import relay as relaying
from arq_worker.circuit_breaker import CircuitBreaker
from arq_worker.line_provider_client import LineProviderClient
from arq_worker.relay import LONGEST_RETRY, Relay, retry_delay
from scoreline.line_provider.v1 import scores_pb2
from scoreline_common.line_provider_channel import open_channel
from scoreline_common.unknown_values import UNKNOWN_VALUES
from tests.arq_worker.running import Rate, States
from tests.support.faulty_line_provider import TOKEN, FaultyLineProvider


async def make_due(owner: AsyncEngine) -> None:
    """Makes postponed messages due, as the time would."""
    async with owner.begin() as connection:
        await connection.execute(text("UPDATE scores_outbox SET next_attempt_at = now() WHERE lease_token IS NULL"))


def unknown_values(field: str) -> float:
    """How many unknown values of the field were reported so far."""
    return sum(
        sample.value
        for metric in UNKNOWN_VALUES.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["field"] == field
    )


async def outbox_errors(owner: AsyncEngine) -> dict[int, str]:
    async with owner.connect() as connection:
        rows = await connection.execute(text("SELECT event_id, last_error FROM scores_outbox"))
        return {row.event_id: row.last_error for row in rows}


async def test_ratings_are_sent_in_batches_and_settled(
    relay: Relay, rate: Rate, states: States, line_provider: FaultyLineProvider
) -> None:
    await rate(250)
    assert await relay.drain() == 250
    assert await states() == {"confirmed": 250}
    assert [len(request.changes) for request in line_provider.requests] == [100, 100, 50]


async def test_a_rejection_settles_with_its_reason(
    relay: Relay, rate: Rate, owner: AsyncEngine, line_provider: FaultyLineProvider
) -> None:
    verdict = scores_pb2.ScoreVerdict(
        verdict=scores_pb2.VERDICT_REJECTED, reason=scores_pb2.REJECTION_REASON_EVENT_CANCELLED
    )
    line_provider.answer = lambda request: scores_pb2.ApplyScoresResponse(verdicts=[verdict])
    await rate()
    await relay.drain()
    async with owner.connect() as connection:
        row = (await connection.execute(text("SELECT state, reason, value FROM scores"))).one()
    assert tuple(row) == ("rejected", "event_cancelled", None)


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    ],
)
async def test_a_call_that_fails_whatever_its_content_is_retried_and_never_compensated(
    code: grpc.StatusCode,
    relay: Relay,
    rate: Rate,
    states: States,
    owner: AsyncEngine,
    line_provider: FaultyLineProvider,
) -> None:
    answer, line_provider.answer = line_provider.answer, lambda request: code
    await rate(3)
    draining = asyncio.create_task(relay.drain())
    while len(line_provider.requests) < 3:
        assert not draining.done()
        await asyncio.sleep(0.01)
    assert await states() == {"pending": 3}
    assert await outbox_errors(owner) == {1: f"{code.name}: as the test wants it"}

    line_provider.answer = answer
    assert await draining == 3
    assert await states() == {"confirmed": 3}


async def test_a_poisoned_message_is_retried_and_never_compensated(
    relay: Relay, rate: Rate, states: States, owner: AsyncEngine, line_provider: FaultyLineProvider
) -> None:
    answer, line_provider.answer = line_provider.answer, lambda request: grpc.StatusCode.INTERNAL
    await rate()
    assert await relay.drain() == 0
    assert await states() == {"pending": 1}
    assert await outbox_errors(owner) == {1: "INTERNAL: as the test wants it"}

    line_provider.answer = answer
    await make_due(owner)
    assert await relay.drain() == 1
    assert await states() == {"confirmed": 1}


async def test_a_poisoned_message_does_not_delay_its_neighbours(
    relay: Relay, rate: Rate, states: States, owner: AsyncEngine, line_provider: FaultyLineProvider
) -> None:
    answer = line_provider.answer

    def fail_on_event_13(
        request: scores_pb2.ApplyScoresRequest,
    ) -> scores_pb2.ApplyScoresResponse | grpc.StatusCode:
        poisoned = any(change.event_id == 13 for change in request.changes)
        return grpc.StatusCode.INTERNAL if poisoned else answer(request)

    line_provider.answer = fail_on_event_13
    await rate(30)
    await rate(1, event_id=13)
    await rate(30)
    assert await relay.drain() == 60
    assert await states() == {"confirmed": 60, "pending": 1}
    assert list(await outbox_errors(owner)) == [13]


async def test_an_answer_outside_the_contract_settles_nothing(
    relay: Relay, rate: Rate, states: States, line_provider: FaultyLineProvider
) -> None:
    line_provider.answer = lambda request: scores_pb2.ApplyScoresResponse(verdicts=[scores_pb2.ScoreVerdict()])
    await rate(3)
    assert await relay.drain() == 0
    assert await states() == {"pending": 3}


async def test_an_unknown_verdict_leaves_that_message_undecided_and_settles_the_others(
    relay: Relay,
    rate: Rate,
    states: States,
    owner: AsyncEngine,
    line_provider: FaultyLineProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relaying, "FIRST_RETRY", LONGEST_RETRY)
    known = line_provider.answer

    def answer_of_a_newer_version(request: scores_pb2.ApplyScoresRequest) -> scores_pb2.ApplyScoresResponse:
        return scores_pb2.ApplyScoresResponse(
            verdicts=[
                scores_pb2.ScoreVerdict(
                    verdict=77 if change.event_id == 13 else scores_pb2.VERDICT_APPLIED  # type: ignore[arg-type]
                )
                for change in request.changes
            ]
        )

    line_provider.answer = answer_of_a_newer_version
    reported = unknown_values("Verdict")
    await rate(30)
    await rate(1, event_id=13)
    await rate(30)
    assert await relay.drain() == 60
    assert await states() == {"confirmed": 60, "pending": 1}
    assert await outbox_errors(owner) == {13: "unknown verdict: line_provider is of a newer version"}
    assert unknown_values("Verdict") == reported + 1
    # Postponed, as any poisoned message, so that it is not asked for again at once.
    assert await relay.drain() == 0
    assert len(line_provider.requests) == 1

    line_provider.answer = known
    await make_due(owner)
    assert await relay.drain() == 1
    assert await states() == {"confirmed": 61}


async def test_an_unknown_reason_is_a_rejection_for_another_reason(
    relay: Relay, rate: Rate, owner: AsyncEngine, line_provider: FaultyLineProvider
) -> None:
    def answer_of_a_newer_version(request: scores_pb2.ApplyScoresRequest) -> scores_pb2.ApplyScoresResponse:
        verdict = scores_pb2.ScoreVerdict(
            verdict=scores_pb2.VERDICT_REJECTED,
            reason=77,  # type: ignore[arg-type]
        )
        return scores_pb2.ApplyScoresResponse(verdicts=[verdict] * len(request.changes))

    line_provider.answer = answer_of_a_newer_version
    reported = unknown_values("RejectionReason")
    await rate(2)
    assert await relay.drain() == 2
    assert unknown_values("RejectionReason") == reported + 2
    async with owner.connect() as connection:
        rows = (await connection.execute(text("SELECT state, reason, value FROM scores"))).all()
    assert [tuple(row) for row in rows] == [("rejected", "other", None)] * 2


async def test_nothing_is_claimed_while_line_provider_is_unreachable(
    worker_engine: AsyncEngine, rate: Rate, states: States, owner: AsyncEngine, line_provider: FaultyLineProvider
) -> None:
    await rate(5)
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    async with LineProviderClient(open_channel(f"127.0.0.1:{port}"), TOKEN, timedelta(seconds=5)) as client:
        breaker = CircuitBreaker(client.is_serving)
        relay = Relay(worker_engine, client, breaker, batch_size=100, lease=timedelta(minutes=5))
        draining = asyncio.create_task(relay.drain())
        done, _ = await asyncio.wait({draining}, timeout=0.5)
        assert not done
        async with owner.connect() as connection:
            assert await connection.scalar(text("SELECT max(attempts) FROM scores_outbox")) == 0

        server = await line_provider.serve(f"127.0.0.1:{port}")
        assert await draining == 5
        await server.stop(None)
    assert await states() == {"confirmed": 5}


async def test_a_relay_told_to_stop_settles_the_batch_in_hand(
    relay: Relay, rate: Rate, states: States, line_provider: FaultyLineProvider
) -> None:
    answer = line_provider.answer
    running = asyncio.create_task(relay.run())

    def stop_while_the_call_is_under_way(
        request: scores_pb2.ApplyScoresRequest,
    ) -> scores_pb2.ApplyScoresResponse | grpc.StatusCode:
        running.cancel()
        return answer(request)

    line_provider.answer = stop_while_the_call_is_under_way
    await rate(150)
    relay.wake()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await states() == {"confirmed": 100, "pending": 50}


@given(attempts=st.integers(1, 10_000), jitter=st.floats(0, 1))
def test_retries_come_later_and_later_but_at_least_every_minute(attempts: int, jitter: float) -> None:
    delay = retry_delay(attempts, jitter)
    assert timedelta(0) < delay <= LONGEST_RETRY
    assert retry_delay(attempts + 1, jitter) >= delay
