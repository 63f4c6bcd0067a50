"""Local sliding-window counters: how much of a limit each rater or address has used, as far as this process knows.

Redis counts for all processes together, but most raters write too little to be worth a request to it. A local counter
is synced with Redis once more than SYNC_AT_FRACTION of the limit is unsynced, and Redis is asked before a write is
admitted once half of the limit is used.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from limits import RateLimitItem

Subject = Literal["rater", "address"]

# The share of a limit that one process may admit before Redis knows of it.
SYNC_AT_FRACTION = 1 / 20
# A counter takes some 300 bytes.
MAX_COUNTERS = 100_000


class LocalCounts:
    """The counters of one limit. Beyond `max_counters` the oldest is evicted.

    `on_evict` is called with an evicted counter that must be synced first.
    """

    def __init__(
        self,
        subject: Subject,
        limit: RateLimitItem,
        on_evict: Callable[["LocalCount"], None],
        *,
        max_counters: int = MAX_COUNTERS,
    ) -> None:
        self.subject: Subject = subject
        self.limit = limit
        self.window_seconds = limit.get_expiry()
        self.ask_from = limit.amount // 2
        self.sync_above = int(limit.amount * SYNC_AT_FRACTION)
        self._on_evict = on_evict
        self._max_counters = max_counters
        self._counters: OrderedDict[str, LocalCount] = OrderedDict()

    def of(self, name: str, now: float) -> "LocalCount":
        """Returns the counter of the rater or address; `now` is in seconds of any monotonic clock."""
        count = self._counters.get(name)
        if count is None:
            if len(self._counters) >= self._max_counters:
                _, evicted = self._counters.popitem(last=False)
                if evicted.must_sync_before_eviction(now):
                    self._on_evict(evicted)
            count = self._counters[name] = LocalCount(self, name, now + self.window_seconds)
        return count


@dataclass(eq=False, slots=True)
class LocalCount:
    """`used` counts against the limit until `valid_until`; it includes `unsynced`, which Redis does not know yet."""

    limited: LocalCounts
    name: str
    valid_until: float
    used: int = 0
    unsynced: int = 0

    def is_far_from_limit(self, now: float) -> bool:
        """Tells whether one more write can be admitted without asking Redis."""
        if now > self.valid_until:
            # Everything that Redis has counted is outside the window by now.
            self.apply_remote_count(0, now)
        return self.used < self.limited.ask_from

    def admit(self) -> bool:
        """Counts one write; returns whether the counter should be synced now."""
        self.used += 1
        self.unsynced += 1
        return self.unsynced > self.limited.sync_above

    def take_unsynced(self) -> int:
        """Returns how many writes to add in Redis now."""
        unsynced, self.unsynced = self.unsynced, 0
        return unsynced

    def apply_remote_count(self, counted: int, now: float) -> None:
        """Takes over what Redis has counted by now."""
        self.used = counted + self.unsynced
        self.valid_until = now + self.limited.window_seconds

    def must_sync_before_eviction(self, now: float) -> bool:
        """Tells whether evicting it now could hide writes faster than the limit allows.

        SYNC_AT_FRACTION of the limit within at least the same fraction of the window is no faster than the limit.
        """
        return self.unsynced > 0 and self.valid_until - now > self.limited.window_seconds * (1 - SYNC_AT_FRACTION)
