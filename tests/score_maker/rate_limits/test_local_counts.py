"""What a process knows of how much raters write, and what it has Redis hear of."""

from limits import RateLimitItemPerMinute

from score_maker.rate_limits.local_counts import LocalCount, LocalCounts

LIMIT = RateLimitItemPerMinute(100)
PORTION = 5


def counts(told: list[LocalCount], *, max_counters: int = 1000) -> LocalCounts:
    return LocalCounts("rater", LIMIT, told.append, max_counters=max_counters)


def test_redis_is_to_hear_of_writes_once_they_are_more_than_a_portion() -> None:
    count = counts([]).of("anna", now=0)
    assert [count.admit() for _ in range(PORTION + 1)] == [False] * PORTION + [True]
    assert count.take_unsynced() == PORTION + 1
    assert not count.admit()


def test_half_of_the_limit_is_far_from_it() -> None:
    count = counts([]).of("anna", now=0)
    for _ in range(50):
        assert count.is_far_from_limit(now=1)
        count.admit()
    assert not count.is_far_from_limit(now=1)


def test_what_redis_knows_counts_and_what_it_has_not_heard_of_on_top() -> None:
    count = counts([]).of("anna", now=0)
    count.admit()
    count.take_unsynced()
    count.admit()
    count.apply_remote_count(48, now=1)
    assert (count.used, count.is_far_from_limit(now=1)) == (49, True)
    count.apply_remote_count(49, now=1)
    assert not count.is_far_from_limit(now=61)


def test_a_window_later_only_what_redis_has_not_heard_of_counts() -> None:
    count = counts([]).of("anna", now=0)
    count.admit()
    count.take_unsynced()
    count.admit()
    count.apply_remote_count(99, now=1)
    assert count.is_far_from_limit(now=61.5)
    assert count.used == 1


def test_of_too_many_the_longest_known_is_forgotten() -> None:
    known = counts([], max_counters=2)
    anna, ben = known.of("anna", now=0), known.of("ben", now=1)
    assert known.of("anna", now=2) is anna
    known.of("cleo", now=3)
    assert known.of("ben", now=4) is ben
    assert known.of("anna", now=5) is not anna


def test_who_is_forgotten_early_is_told_of_and_who_is_forgotten_late_was_slow_enough() -> None:
    told: list[LocalCount] = []
    known = counts(told, max_counters=1)
    anna = known.of("anna", now=0)
    anna.admit()
    ben = known.of("ben", now=2.9)
    assert told == [anna]
    ben.admit()
    # A twentieth of the window later.
    known.of("cleo", now=2.9 + 3)
    known.of("dora", now=6)
    assert told == [anna]
