"""A rating and what becomes of it: plain rules on plain data.

A score is what one rater says of one event. Every change of mind is a new version, which is pending until
line_provider rules on it. Rulings may come late, twice and out of order; `settle` reaches the same end in any order.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class State(StrEnum):
    """What became of the score's latest version."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class Verdict(StrEnum):
    """line_provider's word on one version; only REJECTED comes with a reason."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class Refusal(StrEnum):
    """Why a submission was not accepted; nothing was written for it."""

    DEADLINE_PASSED = "deadline_passed"
    EVENT_FINAL = "event_final"
    RATER_FORGOTTEN = "rater_forgotten"
    NOTHING_TO_WITHDRAW = "nothing_to_withdraw"


class Score(NamedTuple):
    """One rater's rating of one event.

    `value` is what stands as far as the rater is concerned: the latest version's while it is pending or confirmed,
    and the last confirmed one again once the latest was rejected. None means that no rating stands.
    `confirmed_*` is what line_provider is known to have applied.
    """

    event_id: int
    rater_id: UUID
    value: int | None
    version: int
    state: State
    reason: str | None
    confirmed_value: int | None
    confirmed_version: int | None
    accepted_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A submission that changed nothing, because it says what the score said already."""

    score: Score


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """A submission that was not accepted, because the score (None: there is none) is not of the version it requires."""

    score: Score | None


# What becomes of a submission; the score alone is what was written.
Outcome = Score | Unchanged | OtherVersion | Refusal


class Ruling(NamedTuple):
    """A verdict on one version of a score, with the value that this version asked for."""

    version: int
    value: int | None
    verdict: Verdict
    reason: str | None = None


def settle(score: Score, ruling: Ruling, at: datetime) -> Score:
    """The score after a ruling.

    A version that line_provider has applied becomes the confirmed one unless a later version already is.
    The state changes only by a ruling on the latest version, and "applied" outweighs "rejected": it speaks of what
    has happened. A rejection is compensated: the confirmed value stands again, also when that confirmation arrives
    after the rejection.
    """
    value, state, reason, settled_at = score.value, score.state, score.reason, score.settled_at
    confirmed_value, confirmed_version = score.confirmed_value, score.confirmed_version
    if ruling.verdict is not Verdict.REJECTED and ruling.version > (confirmed_version or 0):
        confirmed_value, confirmed_version = ruling.value, ruling.version
    if ruling.version == score.version and _decides(ruling, state):
        state, reason, settled_at = _state_after(ruling), ruling.reason, at
        if state is not State.REJECTED:
            value = ruling.value
    if state is State.REJECTED:
        value = confirmed_value
    return Score(
        score.event_id,
        score.rater_id,
        value,
        score.version,
        state,
        reason,
        confirmed_value,
        confirmed_version,
        score.accepted_at,
        settled_at,
    )


def _decides(ruling: Ruling, state: State) -> bool:
    return state is State.PENDING or (state is State.REJECTED and ruling.verdict is not Verdict.REJECTED)


def _state_after(ruling: Ruling) -> State:
    if ruling.verdict is Verdict.REJECTED:
        return State.REJECTED
    return State.WITHDRAWN if ruling.value is None else State.CONFIRMED


def is_decided(score: Score, version: int) -> bool:
    """Whether no more is to be waited for: that version was ruled on, or its rater has said something else since."""
    return score.version > version or score.state is not State.PENDING


@dataclass(frozen=True, slots=True)
class AppliedVersion:
    """What line_provider has applied of one rater's rating of one event, and when by its own clock.

    `applied_at` is None where line_provider is of a version that does not tell.
    """

    version: int
    value: int | None
    applied_at: datetime | None


class Mending(StrEnum):
    """What brings a score together with what line_provider has applied of it."""

    CONFIRMED_HERE = "confirmed_here"
    SENT_AGAIN = "sent_again"
    ADOPTED = "adopted"
    SAID_AGAIN = "said_again"
    NOT_POSSIBLE = "not_possible"


def mend(score: Score, applied: AppliedVersion | None, at: datetime) -> tuple[Score, Mending | None]:
    """The score with what was learnt, and what else it needs; None where both sides agree.

    A version that line_provider alone knows of, or two values of one version, cannot come about by themselves: this
    database was restored from a backup that is older than that version. It is adopted, unless the rater has said
    something since: then that is said again, as a version behind it.
    """
    confirmed = score.confirmed_version or 0
    there = applied.version if applied else 0
    if confirmed > there:
        return score, Mending.SENT_AGAIN
    if applied is None or (confirmed == there and score.confirmed_value == applied.value):
        return score, None
    if confirmed < there <= score.version:
        return settle(score, Ruling(there, applied.value, Verdict.APPLIED), at), Mending.CONFIRMED_HERE
    if applied.applied_at is None:
        return score, Mending.NOT_POSSIBLE
    adopted = adopt(score.event_id, score.rater_id, applied, at)
    if score.state is State.REJECTED or score.accepted_at <= applied.applied_at:
        return adopted, Mending.ADOPTED
    said_again = adopted._replace(
        value=score.value,
        version=there + 1,
        state=State.PENDING,
        accepted_at=score.accepted_at,
        settled_at=None,
    )
    return said_again, Mending.SAID_AGAIN


def adopt(event_id: int, rater_id: UUID, applied: AppliedVersion, at: datetime) -> Score:
    """The score of which only this is known. It was accepted before it was applied, and is recorded as of then."""
    return Score(
        event_id,
        rater_id,
        value=applied.value,
        version=applied.version,
        state=State.WITHDRAWN if applied.value is None else State.CONFIRMED,
        reason=None,
        confirmed_value=applied.value,
        confirmed_version=applied.version,
        accepted_at=applied.applied_at or at,
        settled_at=at,
    )
