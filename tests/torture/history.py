"""What clients were told of their ratings, and what they may therefore expect of the service.

A rater sends one request at a time. So a submission (a rating or a withdrawal) whose outcome is unknown has made either
the next version or none by the time its rater sends another, and the version of a score lies between two bounds: the
highest one that its rater was told of, and one more for each submission of unknown outcome since. Only a rater who
hangs up can be overtaken by their own submission, which may make its version at any later time.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from tests.torture.events import now

Key = tuple[int, UUID]

# How many lines of a score's story a violation shows.
_LONGEST_STORY = 30


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise: its sentence, and the evidence."""

    promise: str
    details: str

    def __str__(self) -> str:
        return f"{self.promise}\n    " + self.details.replace("\n", "\n    ")


@dataclass(frozen=True, slots=True)
class Submission:
    """What the rater submitted as one acknowledged version; a withdrawal has no value."""

    value: int | None
    accepted_at: datetime


@dataclass(slots=True, kw_only=True)
class Told:
    """What one rater knows of one score."""

    floor: int = 0
    # The highest version of which its rater was told that line_provider has applied it.
    applied: int = 0
    unknown: list[int | None] = field(default_factory=list)
    hung_up: int = 0
    submissions: dict[int, Submission] = field(default_factory=dict)
    # Values submitted with an unknown outcome: any version that no answer has described may have one of them.
    guesses: set[int | None] = field(default_factory=set)
    story: list[tuple[datetime, str]] = field(default_factory=list)

    @property
    def ceiling(self) -> int:
        return self._base + len(self.unknown) + self.hung_up

    @property
    def last_acknowledged(self) -> int:
        return max(self.submissions, default=0)

    _base: int = 0

    def may_be(self, version: int, value: int | None) -> bool:
        """Whether this version of the score may have had this value."""
        submission = self.submissions.get(version)
        return value in self.guesses if submission is None else value == submission.value

    def acknowledge(self, version: int, submission: Submission) -> None:
        self.submissions[version] = submission
        self.floor = self._base = version
        self.unknown.clear()

    def see(self, version: int) -> None:
        self.floor = max(self.floor, version)

    def lose_sight(self, value: int | None) -> None:
        self.unknown.append(value)
        self.guesses.add(value)

    def hang_up(self, value: int | None) -> None:
        self.hung_up += 1
        self.guesses.add(value)

    def overtaken_by(self, value: int | None, score: Mapping[str, Any]) -> int | None:
        """The value that an answer describes: the submission's own, or that of a submission on which the rater hung up
        and which overtook this one while they waited."""
        if not self.hung_up or score["score"] == value or score["score"] not in self.guesses:
            return value
        self.guesses.add(value)
        shown: int | None = score["score"]
        return shown

    def tell(self, sentence: str) -> None:
        self.story.append((now(), sentence))


@dataclass(frozen=True, slots=True)
class RefusedSubmission:
    """A submission that the service refused at once, and why. The event's history has to justify it."""

    key: Key
    answered_at: datetime
    problem: str


@dataclass(slots=True, kw_only=True)
class History:
    """Everything that all clients were told. Each answer is checked against the earlier ones as it arrives."""

    told: dict[Key, Told] = field(default_factory=dict)
    refused: list[RefusedSubmission] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def of(self, key: Key) -> Told:
        return self.told.setdefault(key, Told())

    def acknowledged(self, key: Key, value: int | None, score: Mapping[str, Any]) -> None:
        """The answer to a submission that is stored, as a new version or as a repetition of one that is pending."""
        told, version = self.of(key), int(score["version"])
        told.tell(f"submitted {value}: acknowledged as version {version}")
        value = told.overtaken_by(value, score)
        self.counts["withdrawals acknowledged" if value is None else "ratings acknowledged"] += 1
        is_repeated = version == told.floor and told.may_be(version, value)
        if not (is_repeated or told.floor < version <= told.ceiling + 1):
            bounds = f"it must lie from {told.floor + 1} to {told.ceiling + 1}, and is {version}"
            self.broken("each submission makes one new version of its score, or repeats the last one", key, bounds)
        if (score["score"], score["state"]) != (value, "pending"):
            self.broken("an answer describes the submission that it acknowledges", key, f"it was {dict(score)}")
        told.acknowledge(version, Submission(value, datetime.fromisoformat(score["accepted_at"])))

    def decided(self, key: Key, value: int | None, score: Mapping[str, Any], *, may_be_new: bool) -> None:
        """The answer to a submission that line_provider has applied: a new one whose rater waited, or a repetition."""
        told, version = self.of(key), int(score["version"])
        told.tell(f"submitted {value}: applied, as version {version}")
        value = told.overtaken_by(value, score)
        is_new = may_be_new and told.floor < version <= told.ceiling + 1
        self.counts["submissions applied" if is_new else "submissions repeated"] += 1
        if not is_new and not (told.floor <= version <= told.ceiling and told.may_be(version, value)):
            bounds = f"it must lie from {told.floor} to {told.ceiling} with the value {value}, and is {dict(score)}"
            self.broken("only a repetition is answered as applied already", key, bounds)
        state = "withdrawn" if value is None else "confirmed"
        if (score["score"], score["state"], score["confirmed_score"]) != (value, state, value):
            self.broken("an answer describes the submission that it acknowledges", key, f"it was {dict(score)}")
        told.acknowledge(version, Submission(value, datetime.fromisoformat(score["accepted_at"])))
        told.applied = max(told.applied, version)

    def rejected(self, key: Key, value: int | None, score: Mapping[str, Any]) -> None:
        """The answer to a submission that line_provider has rejected while its rater waited."""
        told, version = self.of(key), int(score["version"])
        told.tell(f"submitted {value}: rejected, as version {version}")
        self.counts[f"submissions rejected: {score['reason']}"] += 1
        if not (version == told.floor or told.floor < version <= told.ceiling + 1):
            bounds = f"it must lie from {told.floor} to {told.ceiling + 1}, and is {version}"
            self.broken("each submission makes one new version of its score, or repeats the last one", key, bounds)
        if score["state"] != "rejected" or score["score"] != score["confirmed_score"]:
            self.broken(
                "a rejected submission gives way to the last confirmed one", key, f"the answer was {dict(score)}"
            )
        told.acknowledge(version, Submission(value, datetime.fromisoformat(score["accepted_at"])))

    def outcome_unknown(self, key: Key, value: int | None, why: str) -> None:
        told = self.of(key)
        told.tell(f"submitted {value}: {why}, so its outcome is unknown")
        told.lose_sight(value)
        self.counts[f"outcome unknown: {why}"] += 1

    def hung_up(self, key: Key, value: int | None) -> None:
        told = self.of(key)
        told.tell(f"submitted {value} and hung up, so its outcome is unknown")
        told.hang_up(value)
        self.counts["outcome unknown: the client hung up"] += 1

    def refusal(self, key: Key, value: int | None, problem: str) -> None:
        self.of(key).tell(f"submitted {value}: refused as {problem}")
        self.refused.append(RefusedSubmission(key, now(), problem))
        self.counts[f"refused: {problem}"] += 1

    def nothing_stood(self, key: Key, score: Mapping[str, Any]) -> None:
        """The answer to a withdrawal with nothing to withdraw, because the rating was rejected."""
        self.counts["withdrawals of nothing"] += 1
        self.saw(key, score)
        if score["score"] is not None:
            self.broken("no rating stands if there is nothing to withdraw", key, f"the answer was {dict(score)}")

    def saw(self, key: Key, score: Mapping[str, Any]) -> None:
        """The score as a read shows it."""
        told, version = self.of(key), int(score["version"])
        told.tell(f"saw version {version}: {score['score']}, {score['state']}")
        self.counts["reads"] += 1
        if not told.floor <= version <= told.ceiling:
            bounds = f"it must lie from {told.floor} to {told.ceiling}, and is {version}"
            self.broken("no rater sees their own submission vanish, nor a version go back", key, bounds)
        elif score["state"] == "rejected":
            if score["score"] != score["confirmed_score"]:
                self.broken(
                    "a rejected submission gives way to the last confirmed one", key, f"shown was {dict(score)}"
                )
        elif not told.may_be(version, score["score"]):
            self.broken("a score is what its rater submitted", key, f"shown was {dict(score)}")
        elif (score["state"] == "withdrawn") is not (score["score"] is None) and score["state"] != "pending":
            self.broken("a score without a value is withdrawn, and no other", key, f"shown was {dict(score)}")
        told.see(version)

    def saw_none(self, key: Key) -> None:
        told = self.of(key)
        told.tell("saw no score")
        self.counts["reads of nothing"] += 1
        if told.floor:
            self.broken("no rater sees their own submission vanish", key, f"version {told.floor} was known")

    def unexpected(self, key: Key | None, what: str) -> None:
        self.counts["unexpected answers"] += 1
        self.broken("every answer is one that the API documents for the case", key, what)

    def broken(self, promise: str, key: Key | None, details: str) -> None:
        self.violations.append(Violation(promise, details if key is None else f"{self.describe(key)}\n{details}"))

    def describe(self, key: Key) -> str:
        """Everything that the rater was told, or the end of it."""
        event_id, rater_id = key
        story = self.of(key).story
        lines = [f"{at.isoformat()} {sentence}" for at, sentence in story[-_LONGEST_STORY:]]
        if len(story) > len(lines):
            lines.insert(0, f"… {len(story) - len(lines)} earlier")
        return "\n".join([f"event {event_id}, rater {rater_id}:", *(f"  {line}" for line in lines)])
