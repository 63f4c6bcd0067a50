"""The checker compares what clients were told and what organisers did with what both databases hold in the end.

It knows nothing of how the services work, only what they promise. Each broken promise is a Violation with the whole
story of its score or event.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from scoreline.line_provider.v1 import events_pb2
from tests.torture.arena import Arena
from tests.torture.events import FOREVER, Event
from tests.torture.history import History, Key, RefusedSubmission, Told, Violation

_HIGH_SCORE_FROM = 3


@dataclass(frozen=True, slots=True)
class Totals:
    count: int
    sum: int
    histogram: tuple[int, ...]

    @classmethod
    def of(cls, values: list[int]) -> "Totals":
        return cls(len(values), sum(values), tuple(values.count(value) for value in (1, 2, 3, 4, 5)))

    @classmethod
    def told(cls, event: events_pb2.Event) -> "Totals":
        return cls(event.totals.count, event.totals.sum, tuple(event.totals.histogram))

    @property
    def status(self) -> str:
        if not self.count:
            return "processing"
        return "high_score" if self.sum >= _HIGH_SCORE_FROM * self.count else "low_score"


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """The rows of both databases for the events of a run."""

    scores: Mapping[Key, Mapping[str, Any]]
    waiting: list[Mapping[str, Any]]
    final_results: Mapping[int, Mapping[str, Any]]
    applied: Mapping[Key, Mapping[str, Any]]
    events: Mapping[int, Mapping[str, Any]]

    @classmethod
    async def read(cls, arena: Arena, event_ids: list[int]) -> "Records":
        async with arena.score_maker_database() as ours, arena.line_provider_database() as theirs:
            scores = await ours.fetch("SELECT * FROM scores WHERE event_id = ANY($1)", event_ids)
            waiting = await ours.fetch("SELECT * FROM scores_outbox WHERE event_id = ANY($1) ORDER BY id", event_ids)
            final = await ours.fetch("SELECT * FROM final_results WHERE event_id = ANY($1)", event_ids)
            applied = await theirs.fetch("SELECT * FROM applied_scores WHERE event_id = ANY($1)", event_ids)
            events = await theirs.fetch("SELECT * FROM events WHERE event_id = ANY($1)", event_ids)
        return cls(
            scores={_key(row): dict(row) for row in scores},
            waiting=[dict(row) for row in waiting],
            final_results={row["event_id"]: dict(row) for row in final},
            applied={_key(row): dict(row) for row in applied},
            events={row["event_id"]: dict(row) for row in events},
        )


def check(history: History, events: Mapping[int, Event], records: Records) -> list[Violation]:
    """All violations, beginning with those that clients noticed themselves."""
    checker = _Checker(history, events, records)
    return [
        *history.violations,
        *checker.undecided(),
        *checker.acknowledged_submissions(),
        *checker.scores(),
        *checker.applied(),
        *checker.totals(),
        *checker.refusals(),
    ]


class _Checker:
    def __init__(self, history: History, events: Mapping[int, Event], records: Records) -> None:
        self._history = history
        self._events = events
        self._records = records

    def undecided(self) -> Iterator[Violation]:
        """Every rating is decided."""
        for message in self._records.waiting:
            yield self._violation("every message leaves the outbox", _key(message), f"waits: {message}")
        for key, score in self._records.scores.items():
            if score["state"] == "pending":
                yield self._violation("every rating is decided", key, f"is pending: {score}")

    def acknowledged_submissions(self) -> Iterator[Violation]:
        """No acknowledged submission is lost, and none appears that no rater made."""
        for key, told in self._history.told.items():
            score = self._records.scores.get(key)
            version = score["version"] if score else 0
            if not told.floor <= version <= told.ceiling:
                bounds = f"its version must lie from {told.floor} to {told.ceiling}, and is {version}"
                yield self._violation("no acknowledged rating is lost, none counts that no rater gave", key, bounds)
            submission = told.submissions.get(version)
            if score and submission and submission.accepted_at != score["accepted_at"]:
                detail = f"acknowledged as accepted at {submission.accepted_at}, recorded as {score['accepted_at']}"
                yield self._violation("the time of acceptance stays as it was acknowledged", key, detail)
        for key in self._records.scores.keys() - self._history.told.keys():
            yield self._violation("no rating appears that no rater gave", key, f"{self._records.scores[key]}")

    def scores(self) -> Iterator[Violation]:
        """Each score ends as its rater submitted it, or is rejected for a reason that its event gives."""
        for key, score in self._records.scores.items():
            told, state, value = self._history.of(key), score["state"], score["value"]
            confirmed = score["confirmed_version"], score["confirmed_value"]
            if state in {"confirmed", "withdrawn"}:
                if not told.may_be(score["version"], value) or (state == "withdrawn") is not (value is None):
                    yield self._violation("a confirmed score is what its rater submitted", key, f"{score}")
                if confirmed != (score["version"], value):
                    yield self._violation("a confirmed score is the confirmed version", key, f"{score}")
            elif state == "rejected":
                if value != score["confirmed_value"]:
                    yield self._violation("a rejected rating is compensated", key, f"{score}")
                if not self._is_legitimate(score):
                    yield self._violation("a rejection has a reason that its event gives", key, f"{score}")
            if told.applied > (score["confirmed_version"] or 0):
                detail = f"version {told.applied} was confirmed, and now there is {score}"
                yield self._violation(
                    "a rating that was reported as confirmed stays so until its rater changes it", key, detail
                )
            yield from self._passed_over(key, told, score["confirmed_version"] or 0)

    def _passed_over(self, key: Key, told: Told, confirmed: int) -> Iterator[Violation]:
        """Each acknowledged submission later than the confirmed one must have been rejected rightly."""
        event = self._events[key[0]]
        for version, submission in told.submissions.items():
            accepted_at = submission.accepted_at
            if version > confirmed and not (
                event.may_be_cancelled(FOREVER) or accepted_at > min(event.deadlines(accepted_at, FOREVER))
            ):
                detail = f"version {version} was in time, and {confirmed or 'none'} is confirmed"
                yield self._violation("a rating that was in time counts", key, detail)

    def applied(self) -> Iterator[Violation]:
        """The confirmed versions are those that line_provider has applied, and none was accepted after the deadline."""
        applied = {key: (row["version"], row["value"]) for key, row in self._records.applied.items()}
        confirmed = {
            key: (score["confirmed_version"], score["confirmed_value"])
            for key, score in self._records.scores.items()
            if score["confirmed_version"] is not None
        }
        for key in sorted(applied.keys() | confirmed.keys()):
            if applied.get(key) != confirmed.get(key):
                detail = f"applied: {applied.get(key)}, confirmed: {confirmed.get(key)} (version, value)"
                yield self._violation("the confirmed versions are those that line_provider has applied", key, detail)
        for key, row in self._records.applied.items():
            event, submission = self._events[key[0]], self._history.of(key).submissions.get(row["version"])
            if submission and submission.accepted_at > max(event.deadlines(row["applied_at"], FOREVER)):
                detail = f"version {row['version']} was accepted at {submission.accepted_at}; {_story(event)}"
                yield self._violation("no rating counts that was accepted after the deadline", key, detail)
            if event.cancellation and row["applied_at"] > event.cancellation.answered_at:
                detail = f"version {row['version']} was applied at {row['applied_at']}; {_story(event)}"
                yield self._violation("a cancelled event accepts no ratings", key, detail)

    def totals(self) -> Iterator[Violation]:
        """Each event's figures add up both its confirmed ratings and the applied ones."""
        confirmed, applied = defaultdict(list), defaultdict(list)
        for (event_id, _), score in self._records.scores.items():
            if score["confirmed_value"] is not None:
                confirmed[event_id].append(score["confirmed_value"])
        for (event_id, _), row in self._records.applied.items():
            if row["value"] is not None:
                applied[event_id].append(row["value"])
        for event_id, event in self._events.items():
            row = self._records.events[event_id]
            figures = Totals(row["score_count"], row["score_sum"], tuple(row["histogram"]))
            for whose, values in (("confirmed", confirmed[event_id]), ("applied", applied[event_id])):
                if figures != (expected := Totals.of(values)):
                    detail = f"event {event_id} shows {figures}, its {whose} ratings make {expected}; {_story(event)}"
                    yield Violation(f"an event's figures are those of its {whose} ratings", detail)
            if row["status"] != figures.status:
                yield Violation("an event's status is that of its figures", f"{row}")
            if event.cancellation and figures != (told := Totals.told(event.cancellation.told)):
                detail = f"event {event_id} shows {figures}, and showed {told} when it was cancelled; {_story(event)}"
                yield Violation("a cancelled event accepts no ratings", detail)
            final = self._records.final_results.get(event_id)
            if final and (
                not row["finalized_at"] or (final["score_count"], final["score_sum"]) != (figures.count, figures.sum)
            ):
                yield Violation("a final result is final in both services", f"{final}, and there {row}")

    def refusals(self) -> Iterator[Violation]:
        """No submission was refused without cause."""
        for refused in self._history.refused:
            if not self._was_right(refused):
                event = self._events[refused.key[0]]
                detail = f"{refused.problem} at {refused.answered_at}; {_story(event)}"
                yield self._violation("a rating is refused only if its event is over", refused.key, detail)

    def _was_right(self, refused: RefusedSubmission) -> bool:
        event, at = self._events[refused.key[0]], refused.answered_at
        if refused.problem == "event-cancelled":
            return event.may_be_cancelled(at)
        return at > min(event.deadlines(event.changes[0].sent_at, at))

    def _is_legitimate(self, rejected: Mapping[str, Any]) -> bool:
        event, settled_at = self._events[rejected["event_id"]], rejected["settled_at"]
        if rejected["reason"] == "event_cancelled":
            return event.may_be_cancelled(settled_at)
        if rejected["reason"] not in {"deadline_passed", "event_final"}:
            return False
        accepted_at: datetime = rejected["accepted_at"]
        return accepted_at > min(event.deadlines(accepted_at, settled_at))

    def _violation(self, promise: str, key: Key, details: str) -> Violation:
        return Violation(promise, f"{self._history.describe(key)}\n{details}")


def _story(event: Event) -> str:
    return "; ".join(
        f"{'cancelled' if change.deadline is None else f'deadline {change.deadline}'}"
        f" from {change.sent_at}..{change.answered_at}"
        for change in event.changes
    )


def _key(row: Mapping[str, Any]) -> Key:
    return row["event_id"], UUID(int=row["rater_id"].int)
