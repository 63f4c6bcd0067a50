"""A process's own counts of writes, and when it syncs them with Redis."""

from limits import RateLimitItemPerMinute

from score_maker.rate_limits.local_counts import LocalCount, LocalCounts

LIMIT = RateLimitItemPerMinute(100)
PORTION = 5


def counts(synced: list[LocalCount], *, max_counters: int = 1000) -> LocalCounts:
    return LocalCounts("rater", LIMIT, synced.append, max_counters=max_counters)


def test_writes_are_due_for_sync_once_they_exceed_a_fraction_of_the_limit() -> None:
    count = counts([]).of("anna", now=0)
    assert [count.admit() for _ in range(PORTION + 1)] == [False] * PORTION + [True]
    assert count.take_unsynced() == PORTION + 1
    assert not count.admit()


def test_less_than_half_of_the_limit_is_far_from_it() -> None:
    count = counts([]).of("anna", now=0)
    for _ in range(50):
        assert count.is_far_from_limit(now=1)
        count.admit()
    assert not count.is_far_from_limit(now=1)


def test_the_count_is_that_of_redis_plus_the_unsynced_writes() -> None:
    count = counts([]).of("anna", now=0)
    count.admit()
    count.take_unsynced()
    count.admit()
    count.apply_remote_count(48, now=1)
    assert (count.used, count.is_far_from_limit(now=1)) == (49, True)
    count.apply_remote_count(49, now=1)
    assert not count.is_far_from_limit(now=61)


def test_after_a_window_only_unsynced_writes_count() -> None:
    count = counts([]).of("anna", now=0)
    count.admit()
    count.take_unsynced()
    count.admit()
    count.apply_remote_count(99, now=1)
    assert count.is_far_from_limit(now=61.5)
    assert count.used == 1


def test_the_oldest_counter_is_evicted_when_there_are_too_many() -> None:
    known = counts([], max_counters=2)
    anna, ben = known.of("anna", now=0), known.of("ben", now=1)
    assert known.of("anna", now=2) is anna
    known.of("cleo", now=3)
    assert known.of("ben", now=4) is ben
    assert known.of("anna", now=5) is not anna


def test_a_counter_evicted_early_is_synced_and_one_evicted_late_need_not_be() -> None:
    synced: list[LocalCount] = []
    known = counts(synced, max_counters=1)
    anna = known.of("anna", now=0)
    anna.admit()
    ben = known.of("ben", now=2.9)
    assert synced == [anna]
    ben.admit()
    # By now ben is a twentieth of the window old.
    known.of("cleo", now=2.9 + 3)
    known.of("dora", now=6)
    assert synced == [anna]
