"""What rulings make of a score, without a database."""

from datetime import UTC, datetime
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from score_maker.domain import Ruling, Score, State, Verdict, settle

ACCEPTED = datetime(2026, 6, 11, 20, tzinfo=UTC)
SETTLED = datetime(2026, 6, 11, 21, tzinfo=UTC)


def pending(value: int | None, version: int = 1) -> Score:
    return Score(1, uuid4(), value, version, State.PENDING, None, None, None, ACCEPTED, None)


def applied(version: int, value: int | None) -> Ruling:
    return Ruling(version, value, Verdict.APPLIED)


def rejected(version: int, value: int | None) -> Ruling:
    return Ruling(version, value, Verdict.REJECTED, "event_cancelled")


def settle_all(score: Score, rulings: list[Ruling]) -> Score:
    for ruling in rulings:
        score = settle(score, ruling, SETTLED)
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


def test_a_ruling_on_an_older_version_does_not_decide_the_newer_one() -> None:
    score = settle(pending(2, version=3), applied(2, 4), SETTLED)
    assert (score.state, score.value, score.confirmed_value, score.settled_at) == (State.PENDING, 2, 4, None)


@given(data=st.data())
def test_rulings_lead_to_the_same_score_in_whatever_order_and_however_often_they_arrive(data: st.DataObject) -> None:
    wishes = data.draw(st.lists(st.tuples(st.none() | st.integers(1, 5), st.booleans()), min_size=1, max_size=6))
    in_order = [
        applied(version, value) if accepted else rejected(version, value)
        for version, (value, accepted) in enumerate(wishes, start=1)
    ]
    as_delivered = data.draw(st.permutations(in_order)) + data.draw(st.lists(st.sampled_from(in_order)))
    start = pending(wishes[-1][0], version=len(wishes))

    outcome = settle_all(start, list(as_delivered))

    assert outcome == settle_all(start, in_order)
    confirmed = [(version, value) for version, (value, accepted) in enumerate(wishes, start=1) if accepted]
    last_version, last_value = confirmed[-1] if confirmed else (None, None)
    assert (outcome.confirmed_version, outcome.confirmed_value) == (last_version, last_value)
    assert outcome.value == last_value
