"""Scores and what becomes of them: plain rules on plain data.

A score is one rater's rating of one event. Every submission is a new version, which is pending until line_provider
decides on it. Decisions may arrive late, twice and out of order; `settle` ends in the same state in any order.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

# The ratings that can be given. The check constraints of the database say the same.
SCALE = range(1, 6)


class State(StrEnum):
    """What became of the latest version of a score."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class Verdict(StrEnum):
    """line_provider's verdict on one version; only REJECTED comes with a reason."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class Reason(StrEnum):
    """Why line_provider rejected a version."""

    INVALID = "invalid"
    EVENT_NOT_FOUND = "event_not_found"
    EVENT_CANCELLED = "event_cancelled"
    EVENT_FINAL = "event_final"
    DEADLINE_PASSED = "deadline_passed"
    OTHER = "other"
    """A reason of a newer line_provider, or one that a newer score_maker has recorded."""

    @classmethod
    def _missing_(cls, _: object) -> "Reason":
        return cls.OTHER


class Refusal(StrEnum):
    """Why a submission was not accepted; nothing was written for it."""

    EVENT_NOT_FOUND = "event_not_found"
    EVENT_CANCELLED = "event_cancelled"
    DEADLINE_PASSED = "deadline_passed"
    EVENT_FINAL = "event_final"
    RATER_ERASED = "rater_erased"
    NOTHING_TO_WITHDRAW = "nothing_to_withdraw"


# Not frozen: making a frozen one takes three times as long, and one is made for each submission and each decision.
@dataclass(slots=True, kw_only=True)
class Score:
    """One rater's rating of one event; the fields are the columns of the table `scores`.

    `value` is the rating that the rater sees: the latest version's while it is pending or confirmed, and the last
    confirmed one again once the latest was rejected. None means that no rating stands. `confirmed_*` is what
    line_provider is known to have applied.
    """

    event_id: int
    rater_id: UUID
    value: int | None
    version: int
    state: State
    reason: Reason | None
    confirmed_value: int | None
    confirmed_version: int | None
    accepted_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The submission asked for what the score says already, so nothing was written."""

    score: Score


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """The submission was not accepted because the score has another version than it requires (None: no score)."""

    score: Score | None


# What becomes of a submission; a bare Score is what was written.
Outcome = Score | Unchanged | OtherVersion | Refusal


class Decision(NamedTuple):
    """A verdict on one version of a score, with the value that this version asked for."""

    version: int
    value: int | None
    verdict: Verdict
    reason: Reason | None = None


def settle(score: Score, decision: Decision, at: datetime) -> Score:
    """Returns the score after a decision.

    A version that line_provider has applied becomes the confirmed one, unless a later version already is. Only a
    decision on the latest version changes the state, and "applied" outweighs "rejected" because it reports what has
    happened. A rejection is compensated: the confirmed value stands again, even if its confirmation arrives after the
    rejection.
    """
    value, state, reason, settled_at = score.value, score.state, score.reason, score.settled_at
    confirmed_value, confirmed_version = score.confirmed_value, score.confirmed_version
    if decision.verdict is not Verdict.REJECTED and decision.version > (confirmed_version or 0):
        confirmed_value, confirmed_version = decision.value, decision.version
    if decision.version == score.version and _changes_state(decision, state):
        state, reason, settled_at = _state_after(decision), decision.reason, at
        if state is not State.REJECTED:
            value = decision.value
    if state is State.REJECTED:
        value = confirmed_value
    return replace(
        score,
        value=value,
        state=state,
        reason=reason,
        confirmed_value=confirmed_value,
        confirmed_version=confirmed_version,
        settled_at=settled_at,
    )


def _changes_state(decision: Decision, state: State) -> bool:
    return state is State.PENDING or (state is State.REJECTED and decision.verdict is not Verdict.REJECTED)


def _state_after(decision: Decision) -> State:
    if decision.verdict is Verdict.REJECTED:
        return State.REJECTED
    return State.WITHDRAWN if decision.value is None else State.CONFIRMED


def is_decided(score: Score, version: int) -> bool:
    """Tells whether waiting for this version is over: it was decided, or a later submission replaced it."""
    return score.version > version or score.state is not State.PENDING


@dataclass(frozen=True, slots=True)
class AppliedVersion:
    """What line_provider has applied of one rater's rating of one event, and when by its own clock.

    `applied_at` is None if line_provider is of a version that does not report it.
    """

    version: int
    value: int | None
    applied_at: datetime | None


class Repair(StrEnum):
    """How reconciliation brings a score into agreement with what line_provider has applied of it."""

    CONFIRMED_HERE = "confirmed_here"
    REQUEUED = "requeued"
    """The same version goes through the outbox again."""
    ADOPTED = "adopted"
    REISSUED = "reissued"
    """The value that the rater asked for gets a new version, behind the one that was adopted."""
    NOT_POSSIBLE = "not_possible"


def repair_of(score: Score, applied: AppliedVersion | None, at: datetime) -> tuple[Score, Repair | None]:
    """Returns the score with what was learnt about it, and the repair that it needs (None: both sides agree).

    A version that only line_provider has, or two values of one version, cannot come about in operation: this database
    was restored from a backup that is older than that version. The version is adopted, unless the rater has submitted
    something since; then that is reissued as the version after it.
    """
    confirmed = score.confirmed_version or 0
    there = applied.version if applied else 0
    if confirmed > there:
        return score, Repair.REQUEUED
    if applied is None or (confirmed == there and score.confirmed_value == applied.value):
        return score, None
    if confirmed < there <= score.version:
        return settle(score, Decision(there, applied.value, Verdict.APPLIED), at), Repair.CONFIRMED_HERE
    if applied.applied_at is None:
        return score, Repair.NOT_POSSIBLE
    adopted = adopt(score.event_id, score.rater_id, applied, at)
    if score.state is State.REJECTED or score.accepted_at <= applied.applied_at:
        return adopted, Repair.ADOPTED
    reissued = replace(
        adopted,
        value=score.value,
        version=there + 1,
        state=State.PENDING,
        accepted_at=score.accepted_at,
        settled_at=None,
    )
    return reissued, Repair.REISSUED


def adopt(event_id: int, rater_id: UUID, applied: AppliedVersion, at: datetime) -> Score:
    """Returns the score of which only line_provider's version is known.

    It was accepted before it was applied, so the moment of its application is recorded as that of its acceptance.
    """
    return Score(
        event_id=event_id,
        rater_id=rater_id,
        value=applied.value,
        version=applied.version,
        state=State.WITHDRAWN if applied.value is None else State.CONFIRMED,
        reason=None,
        confirmed_value=applied.value,
        confirmed_version=applied.version,
        accepted_at=applied.applied_at or at,
        settled_at=at,
    )
