"""What clients were told of their ratings, and what they may therefore hold the service to.

A rater speaks one request at a time. So a word (a rating or a withdrawal) whose outcome is unknown has either made the
next version or none by the time that its rater speaks again, and what may be said of a score lies between two bounds:
the highest version that its rater was told of, and one more for each word of unknown outcome since. Only who hangs up
may be overtaken by their own word: it may make its version at any time.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from tests.torture.events import now

Key = tuple[int, UUID]

# How much of a score's story is told with a violation.
_LONGEST_STORY = 30


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken: the sentence, and what there is to see."""

    promise: str
    details: str

    def __str__(self) -> str:
        return f"{self.promise}\n    " + self.details.replace("\n", "\n    ")


@dataclass(frozen=True, slots=True)
class Word:
    """What the rater said in one acknowledged version; no value is a withdrawal."""

    value: int | None
    accepted_at: datetime


@dataclass(slots=True, kw_only=True)
class Told:
    """What one rater knows of one score."""

    floor: int = 0
    # The highest version that its rater was told line_provider has applied.
    applied: int = 0
    unknown: list[int | None] = field(default_factory=list)
    hung_up: int = 0
    words: dict[int, Word] = field(default_factory=dict)
    # What was said while an outcome was unknown is never ruled out for the versions that this may have made.
    guesses: set[int | None] = field(default_factory=set)
    story: list[tuple[datetime, str]] = field(default_factory=list)

    @property
    def ceiling(self) -> int:
        return self._base + len(self.unknown) + self.hung_up

    @property
    def last_acknowledged(self) -> int:
        return max(self.words, default=0)

    _base: int = 0

    def may_be(self, version: int, value: int | None) -> bool:
        """Whether this version of the score may have said that."""
        word = self.words.get(version)
        return value in self.guesses if word is None else value == word.value

    def acknowledge(self, version: int, word: Word) -> None:
        self.words[version] = word
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
        """What the answer to a word speaks of: the word, or one that its rater had hung up on and that has come after
        it while they waited for the answer."""
        if not self.hung_up or score["score"] == value or score["score"] not in self.guesses:
            return value
        self.guesses.add(value)
        shown: int | None = score["score"]
        return shown

    def tell(self, sentence: str) -> None:
        self.story.append((now(), sentence))


@dataclass(frozen=True, slots=True)
class RefusedWord:
    """A word that the service refused at once, and why; to be justified by what became of the event."""

    key: Key
    answered_at: datetime
    problem: str


@dataclass(slots=True, kw_only=True)
class History:
    """All that all clients were told. Each answer is held against what was told before, as it comes."""

    told: dict[Key, Told] = field(default_factory=dict)
    refused: list[RefusedWord] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def of(self, key: Key) -> Told:
        return self.told.setdefault(key, Told())

    def acknowledged(self, key: Key, value: int | None, score: Mapping[str, Any]) -> None:
        """The answer to a word: it is stored, by itself or because the same was said before and awaits its ruling."""
        told, version = self.of(key), int(score["version"])
        told.tell(f"said {value}: acknowledged as version {version}")
        value = told.overtaken_by(value, score)
        self.counts["withdrawals acknowledged" if value is None else "ratings acknowledged"] += 1
        is_repeated = version == told.floor and told.may_be(version, value)
        if not (is_repeated or told.floor < version <= told.ceiling + 1):
            bounds = f"it must lie from {told.floor + 1} to {told.ceiling + 1}, and is {version}"
            self.broken("each word makes one new version of its score, or says what the last one said", key, bounds)
        if (score["score"], score["state"]) != (value, "pending"):
            self.broken("an answer speaks of the word that it acknowledges", key, f"it was {dict(score)}")
        told.acknowledge(version, Word(value, datetime.fromisoformat(score["accepted_at"])))

    def decided(self, key: Key, value: int | None, score: Mapping[str, Any], *, may_be_new: bool) -> None:
        """The answer to a word that line_provider has applied: a new one whose rater has waited, or one that was said
        before."""
        told, version = self.of(key), int(score["version"])
        told.tell(f"said {value}: applied, as version {version}")
        value = told.overtaken_by(value, score)
        is_new = may_be_new and told.floor < version <= told.ceiling + 1
        self.counts["words applied" if is_new else "words said before"] += 1
        if not is_new and not (told.floor <= version <= told.ceiling and told.may_be(version, value)):
            bounds = f"it must lie from {told.floor} to {told.ceiling} and say {value}, and is {dict(score)}"
            self.broken("only what was said before stands already", key, bounds)
        state = "withdrawn" if value is None else "confirmed"
        if (score["score"], score["state"], score["confirmed_score"]) != (value, state, value):
            self.broken("an answer speaks of the word that it acknowledges", key, f"it was {dict(score)}")
        told.acknowledge(version, Word(value, datetime.fromisoformat(score["accepted_at"])))
        told.applied = max(told.applied, version)

    def rejected(self, key: Key, value: int | None, score: Mapping[str, Any]) -> None:
        """The answer to a word whose rater has waited, and that line_provider has rejected."""
        told, version = self.of(key), int(score["version"])
        told.tell(f"said {value}: rejected, as version {version}")
        self.counts[f"words rejected: {score['reason']}"] += 1
        if not (version == told.floor or told.floor < version <= told.ceiling + 1):
            bounds = f"it must lie from {told.floor} to {told.ceiling + 1}, and is {version}"
            self.broken("each word makes one new version of its score, or says what the last one said", key, bounds)
        if score["state"] != "rejected" or score["score"] != score["confirmed_score"]:
            self.broken("a rejected word gives way to the last confirmed one", key, f"told was {dict(score)}")
        told.acknowledge(version, Word(value, datetime.fromisoformat(score["accepted_at"])))

    def outcome_unknown(self, key: Key, value: int | None, why: str) -> None:
        told = self.of(key)
        told.tell(f"said {value}: {why}, so its outcome is unknown")
        told.lose_sight(value)
        self.counts[f"outcome unknown: {why}"] += 1

    def hung_up(self, key: Key, value: int | None) -> None:
        told = self.of(key)
        told.tell(f"said {value} and hung up, so its outcome is unknown")
        told.hang_up(value)
        self.counts["outcome unknown: the client hung up"] += 1

    def refusal(self, key: Key, value: int | None, problem: str) -> None:
        self.of(key).tell(f"said {value}: refused as {problem}")
        self.refused.append(RefusedWord(key, now(), problem))
        self.counts[f"refused: {problem}"] += 1

    def nothing_stood(self, key: Key, score: Mapping[str, Any]) -> None:
        """The answer to a withdrawal that had nothing to withdraw, since the rating was rejected."""
        self.counts["withdrawals of nothing"] += 1
        self.saw(key, score)
        if score["score"] is not None:
            self.broken("nothing stands where there is nothing to withdraw", key, f"told was {dict(score)}")

    def saw(self, key: Key, score: Mapping[str, Any]) -> None:
        """The score as a read shows it."""
        told, version = self.of(key), int(score["version"])
        told.tell(f"saw version {version}: {score['score']}, {score['state']}")
        self.counts["reads"] += 1
        if not told.floor <= version <= told.ceiling:
            bounds = f"it must lie from {told.floor} to {told.ceiling}, and is {version}"
            self.broken("nobody sees their own word vanish, nor a version go back", key, bounds)
        elif score["state"] == "rejected":
            if score["score"] != score["confirmed_score"]:
                self.broken("a rejected word gives way to the last confirmed one", key, f"told was {dict(score)}")
        elif not told.may_be(version, score["score"]):
            self.broken("a score is what its rater said", key, f"told was {dict(score)}")
        elif (score["state"] == "withdrawn") is not (score["score"] is None) and score["state"] != "pending":
            self.broken("a score without a value is withdrawn, and no other", key, f"told was {dict(score)}")
        told.see(version)

    def saw_none(self, key: Key) -> None:
        told = self.of(key)
        told.tell("saw no score")
        self.counts["reads of nothing"] += 1
        if told.floor:
            self.broken("nobody sees their own word vanish", key, f"version {told.floor} was known")

    def unexpected(self, key: Key | None, what: str) -> None:
        self.counts["unexpected answers"] += 1
        self.broken("every answer is one that the API documents for the case", key, what)

    def broken(self, promise: str, key: Key | None, details: str) -> None:
        self.violations.append(Violation(promise, details if key is None else f"{self.describe(key)}\n{details}"))

    def describe(self, key: Key) -> str:
        """All that the rater was told, or the end of it."""
        event_id, rater_id = key
        story = self.of(key).story
        lines = [f"{at.isoformat()} {sentence}" for at, sentence in story[-_LONGEST_STORY:]]
        if len(story) > len(lines):
            lines.insert(0, f"… {len(story) - len(lines)} earlier")
        return "\n".join([f"event {event_id}, rater {rater_id}:", *(f"  {line}" for line in lines)])
