"""How much of a limit each rater or address has used, as far as one process knows, and what it need not ask about.

Most write too little to be worth a question to Redis, which counts for all processes: it hears of a write once more
than a twentieth of the limit are unheard of, and is waited for once half of the limit is used.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from limits import RateLimitItem

Subject = Literal["rater", "address"]

# One in so many of a limit may be counted here before Redis hears of it.
PORTIONS = 20
# Some 300 bytes each.
MOST_KNOWN = 100_000


class WriteCounts:
    """The counts of one limit. Those who are too many to be known are forgotten, the longest known first; `tell` is
    called with whom Redis must hear of before."""

    def __init__(
        self,
        subject: Subject,
        limit: RateLimitItem,
        tell: Callable[["WriteCount"], None],
        *,
        most_known: int = MOST_KNOWN,
    ) -> None:
        self.subject: Subject = subject
        self.limit = limit
        self.seconds = limit.get_expiry()
        self.near = limit.amount // 2
        self.portion = limit.amount // PORTIONS
        self._tell = tell
        self._most_known = most_known
        self._known: OrderedDict[str, WriteCount] = OrderedDict()

    def of(self, name: str, now: float) -> "WriteCount":
        """Of the rater or address of that name; `now` is in seconds, of any clock that only goes forward."""
        count = self._known.get(name)
        if count is None:
            if len(self._known) >= self._most_known:
                _, forgotten = self._known.popitem(last=False)
                if forgotten.is_new(now):
                    self._tell(forgotten)
            count = self._known[name] = WriteCount(self, name, now + self.seconds)
        return count


@dataclass(eq=False, slots=True)
class WriteCount:
    """`used` is what counts against the limit until `known_until`, with what Redis has not heard of."""

    limited: WriteCounts
    name: str
    known_until: float
    used: int = 0
    unheard_of: int = 0

    def is_far_from_limit(self, now: float) -> bool:
        """Whether one more can be admitted without asking."""
        if now > self.known_until:
            # All that Redis has counted lies behind the window by now.
            self.learn(0, now)
        return self.used < self.limited.near

    def admit(self) -> bool:
        """Counts one; answers whether Redis should hear of it now."""
        self.used += 1
        self.unheard_of += 1
        return self.unheard_of > self.limited.portion

    def hand_over(self) -> int:
        """How many Redis is told of now."""
        unheard_of, self.unheard_of = self.unheard_of, 0
        return unheard_of

    def learn(self, counted: int, now: float) -> None:
        """What Redis has counted by now."""
        self.used = counted + self.unheard_of
        self.known_until = now + self.limited.seconds

    def is_new(self, now: float) -> bool:
        """Whether it may hide writes faster than the limit allows if it is forgotten now.

        A portion of the limit in at least the same portion of the window is no faster.
        """
        return self.unheard_of > 0 and self.known_until - now > self.limited.seconds * (1 - 1 / PORTIONS)
