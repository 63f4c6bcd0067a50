"""Settling and repairing a score by verdicts, without a database."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_maker.ratings.domain import (
    AppliedVersion,
    Decision,
    Reason,
    Repair,
    Score,
    State,
    Verdict,
    repair_of,
    settle,
)

ACCEPTED = datetime(2026, 6, 11, 20, tzinfo=UTC)
SETTLED = datetime(2026, 6, 11, 21, tzinfo=UTC)


def pending(value: int | None, version: int = 1) -> Score:
    return Score(
        event_id=1,
        rater_id=uuid4(),
        value=value,
        version=version,
        state=State.PENDING,
        reason=None,
        confirmed_value=None,
        confirmed_version=None,
        accepted_at=ACCEPTED,
        settled_at=None,
    )


def applied(version: int, value: int | None) -> Decision:
    return Decision(version, value, Verdict.APPLIED)


def rejected(version: int, value: int | None) -> Decision:
    return Decision(version, value, Verdict.REJECTED, Reason.EVENT_CANCELLED)


def settle_all(score: Score, decisions: list[Decision]) -> Score:
    for decision in decisions:
        score = settle(score, decision, SETTLED)
    return score


def test_an_applied_rating_is_confirmed() -> None:
    score = settle(pending(5), applied(1, 5), SETTLED)
    assert (score.state, score.value, score.confirmed_value, score.confirmed_version) == (State.CONFIRMED, 5, 5, 1)
    assert score.settled_at == SETTLED


def test_an_applied_withdrawal_leaves_no_rating() -> None:
    score = settle_all(pending(None, version=2), [applied(1, 4), applied(2, None)])
    assert (score.state, score.value, score.confirmed_value, score.confirmed_version) == (
        State.WITHDRAWN,
        None,
        None,
        2,
    )


def test_a_rejected_first_rating_leaves_no_rating() -> None:
    score = settle(pending(5), rejected(1, 5), SETTLED)
    assert (score.state, score.reason, score.value) == (State.REJECTED, "event_cancelled", None)


def test_after_a_rejected_change_the_last_confirmed_rating_stands_again() -> None:
    score = settle_all(pending(1, version=2), [applied(1, 5), rejected(2, 1)])
    assert (score.state, score.value, score.confirmed_version) == (State.REJECTED, 5, 1)


def test_a_confirmation_that_arrives_after_a_later_rejection_still_stands() -> None:
    score = settle_all(pending(1, version=2), [rejected(2, 1), applied(1, 5)])
    assert (score.state, score.value, score.confirmed_version) == (State.REJECTED, 5, 1)


def test_a_verdict_on_an_older_version_does_not_settle_the_newer_one() -> None:
    score = settle(pending(2, version=3), applied(2, 4), SETTLED)
    assert (score.state, score.value, score.confirmed_value, score.settled_at) == (State.PENDING, 2, 4, None)


@given(data=st.data())
def test_verdicts_give_the_same_score_in_any_order_and_if_repeated(data: st.DataObject) -> None:
    submissions = data.draw(st.lists(st.tuples(st.none() | st.integers(1, 5), st.booleans()), min_size=1, max_size=6))
    in_order = [
        applied(version, value) if accepted else rejected(version, value)
        for version, (value, accepted) in enumerate(submissions, start=1)
    ]
    as_delivered = data.draw(st.permutations(in_order)) + data.draw(st.lists(st.sampled_from(in_order)))
    start = pending(submissions[-1][0], version=len(submissions))

    outcome = settle_all(start, list(as_delivered))

    assert outcome == settle_all(start, in_order)
    confirmed = [(version, value) for version, (value, accepted) in enumerate(submissions, start=1) if accepted]
    last_version, last_value = confirmed[-1] if confirmed else (None, None)
    assert (outcome.confirmed_version, outcome.confirmed_value) == (last_version, last_value)
    assert outcome.value == last_value


def applied_version(version: int, value: int | None, *, seconds_after: int = 1) -> AppliedVersion:
    return AppliedVersion(version, value, ACCEPTED + timedelta(seconds=seconds_after))


def confirmed(value: int | None, version: int = 1) -> Score:
    return settle(pending(value, version), applied(version, value), SETTLED)


@pytest.mark.parametrize("value", [4, None])
def test_a_score_that_both_services_agree_on_needs_no_repair(value: int | None) -> None:
    score = confirmed(value)
    assert repair_of(score, applied_version(1, value), SETTLED) == (score, None)


def test_a_version_that_line_provider_has_lost_is_requeued() -> None:
    score = confirmed(4, version=2)
    assert repair_of(score, None, SETTLED) == (score, Repair.REQUEUED)
    assert repair_of(score, applied_version(1, 5), SETTLED) == (score, Repair.REQUEUED)


def test_a_pending_version_that_line_provider_has_applied_is_confirmed() -> None:
    score, repair = repair_of(pending(2), applied_version(1, 2), SETTLED)
    assert (score.state, score.value, score.confirmed_version, repair) == (
        State.CONFIRMED,
        2,
        1,
        Repair.CONFIRMED_HERE,
    )


@pytest.mark.parametrize("value", [1, None])
def test_a_later_version_that_only_line_provider_has_is_adopted(value: int | None) -> None:
    score, repair = repair_of(confirmed(5), applied_version(3, value), SETTLED)
    assert repair is Repair.ADOPTED
    assert (score.version, score.value, score.confirmed_version, score.confirmed_value) == (3, value, 3, value)
    assert score.state is (State.WITHDRAWN if value is None else State.CONFIRMED)
    assert repair_of(score, applied_version(3, value), SETTLED) == (score, None)


@pytest.mark.parametrize("version", [1, 3])
def test_a_newer_submission_is_reissued_with_a_version_above_line_providers(version: int) -> None:
    score, repair = repair_of(confirmed(5, version), applied_version(3, 1, seconds_after=-1), SETTLED)
    assert repair is Repair.REISSUED
    assert (score.version, score.value, score.state, score.accepted_at) == (4, 5, State.PENDING, ACCEPTED)
    assert (score.confirmed_version, score.confirmed_value, score.settled_at) == (3, 1, None)


def test_a_rejected_submission_is_not_reissued() -> None:
    score, repair = repair_of(
        settle(pending(5), rejected(1, 5), SETTLED), applied_version(3, 1, seconds_after=-1), SETTLED
    )
    assert (score.version, score.value, score.state, repair) == (3, 1, State.CONFIRMED, Repair.ADOPTED)


def test_a_score_cannot_be_repaired_without_the_time_of_the_applied_version() -> None:
    score = confirmed(5)
    assert repair_of(score, AppliedVersion(3, 1, None), SETTLED) == (score, Repair.NOT_POSSIBLE)
