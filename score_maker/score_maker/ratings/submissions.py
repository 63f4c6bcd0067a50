"""The use case of a submission: from the rater and the event to what became of it.

If the event is known, a submission that it cannot take is refused at once. If it cannot be known (line_provider is
unreachable and the catalog does not have the event), the submission is accepted and the saga decides.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from score_maker.events.event import Event, Phase
from score_maker.events.feed import EventFeed, EventLookupUnavailable
from score_maker.identity.accounts import Accounts, Subject
from score_maker.identity.anonymous import Rater
from score_maker.ratings import metrics
from score_maker.ratings.accept import Submission, Versions
from score_maker.ratings.domain import Outcome, Refusal
from score_maker.ratings.group_commit import GroupCommit
from scoreline_common.telemetry.tracing import traceparent


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The versions that a score must and must not have for a submission to be accepted; None: it does not matter."""

    if_match: Versions | None
    if_none_match: Versions | None


UNCONDITIONAL = Preconditions(if_match=None, if_none_match=None)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a submission, and the event that it was about (None: unknown)."""

    outcome: Outcome
    event: Event | None


_CLOSED = {
    Phase.CANCELLED: Refusal.EVENT_CANCELLED,
    Phase.FINAL: Refusal.EVENT_FINAL,
    Phase.CLOSED: Refusal.DEADLINE_PASSED,
}


class Submissions:
    """Takes submissions of one process."""

    def __init__(self, feed: EventFeed, accounts: Accounts, group_commit: GroupCommit) -> None:
        self._feed = feed
        self._accounts = accounts
        self._group_commit = group_commit

    async def take(
        self, event_id: int, rater: Rater | Subject, value: int | None, preconditions: Preconditions
    ) -> Taken:
        """Takes a rating or, with no value, a withdrawal; returns once it is durable or refused.

        A subject whose rater was erased gets a new rater. Raises group_commit.Unavailable, and the database's errors.
        """
        try:
            event = await self._feed.find(event_id)
        except EventLookupUnavailable:
            taken = Taken(await self._submit(event_id, rater, value, None, preconditions), None)
        else:
            taken = Taken(await self._outcome(event_id, event, rater, value, preconditions), event)
        metrics.count_outcome(taken.outcome)
        return taken

    async def _outcome(
        self,
        event_id: int,
        event: Event | None,
        rater: Rater | Subject,
        value: int | None,
        preconditions: Preconditions,
    ) -> Outcome:
        if event is None:
            return Refusal.EVENT_NOT_FOUND
        if refusal := _CLOSED.get(event.phase(datetime.now(UTC))):
            return refusal
        return await self._submit(event_id, rater, value, event.deadline, preconditions)

    async def _submit(
        self,
        event_id: int,
        rater: Rater | Subject,
        value: int | None,
        deadline: datetime | None,
        preconditions: Preconditions,
        *,
        erased: UUID | None = None,
    ) -> Outcome:
        """`erased` is the id of the subject's rater under which the submission was refused already."""
        rater_id = await self._rater_id_of(rater, makes_one=value is not None, erased=erased)
        if rater_id is None:
            return Refusal.NOTHING_TO_WITHDRAW
        outcome = await self._group_commit.submit(
            Submission(
                event_id=event_id,
                rater_id=rater_id,
                value=value,
                deadline=deadline,
                trace_context=traceparent(),
                if_match=preconditions.if_match,
                if_none_match=preconditions.if_none_match,
            )
        )
        if outcome is Refusal.RATER_ERASED and isinstance(rater, Subject):
            return await self._submit(event_id, rater, value, deadline, preconditions, erased=rater_id)
        return outcome

    async def _rater_id_of(self, rater: Rater | Subject, *, makes_one: bool, erased: UUID | None) -> UUID | None:
        """None if the subject is no rater yet and this submission does not make it one."""
        if isinstance(rater, Rater):
            return rater.id
        if makes_one:
            return await self._accounts.get_or_make(rater, erased=erased)
        return await self._accounts.get(rater, erased=erased)
