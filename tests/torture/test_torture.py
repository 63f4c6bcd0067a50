"""Everything is broken while load runs, and nothing is lost, double, undecided or divergent in the end."""

import pytest

from tests.torture.arena import Arena
from tests.torture.faults import (
    FAULTS,
    cancel_event,
    cancel_event_under_ratings,
    fault_of,
    kill_worker,
    stop_score_maker,
)
from tests.torture.raters import Habits
from tests.torture.report import report
from tests.torture.run import Plan, run


# A fault may wait for what another one has broken.
@pytest.mark.timeout(600)
async def test_no_fault_costs_a_rating_or_counts_one_twice(arena: Arena) -> None:
    outcome = await run(arena, Plan(seed=7, seconds=30, habits=Habits(waits=0.2)))
    print(report(outcome))
    assert not outcome.violations
    assert len(outcome.deeds.done) > len(FAULTS) * 3 / 4
    assert outcome.history.counts["ratings acknowledged"]
    assert arena.worker_link.traffic.verdicts["duplicate"]


async def test_no_request_fails_while_score_maker_is_restarted_if_broken_connections_are_retried(arena: Arena) -> None:
    plan = Plan(seed=7, seconds=8, raters=60, habits=Habits(persistence=1), faults=[fault_of(stop_score_maker)])
    outcome = await run(arena, plan)
    print(report(outcome))
    assert not outcome.violations
    assert outcome.deeds.done[plan.faults[0].name]
    # Nobody there, or a connection that was closed when it had just been used again: both are tried once more.
    told = outcome.history.counts
    assert not told["outcome unknown: 503"]
    assert not told["reads unavailable"]
    assert told["ratings acknowledged"]


async def test_raters_who_wait_are_told_what_has_become_of_their_ratings(arena: Arena) -> None:
    faults = [fault_of(inflict) for inflict in (cancel_event, cancel_event_under_ratings, kill_worker)]
    outcome = await run(arena, Plan(seed=7, seconds=6, raters=60, habits=Habits(waits=0.5), faults=faults))
    print(report(outcome))
    assert not outcome.violations
    assert outcome.history.counts["words applied"]
