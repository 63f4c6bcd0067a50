"""Faults of every kind under load: in the end nothing is lost, counted twice, undecided or divergent.

Each run takes the seed that TORTURE_SEED names, or else always the same one, and a failure says which it was. A seed
repeats what the run draws by chance; what the machine adds (which batch was under way when a process died) it cannot.
"""

import os
from collections.abc import Sequence

import pytest

from tests.torture.arena import Arena
from tests.torture.faults import (
    FAULTS,
    Fault,
    cancel_event,
    cancel_event_under_ratings,
    fault_of,
    kill_worker,
    stop_score_maker,
)
from tests.torture.raters import Habits
from tests.torture.report import report
from tests.torture.run import Outcome, Plan, run

SEED = int(os.environ.get("TORTURE_SEED", "7"))


async def outcome_of(arena: Arena, plan: Plan) -> Outcome:
    """Runs the plan and fails for each broken promise, with the report, which begins with the seed."""
    outcome = await run(arena, plan)
    assert not outcome.violations, f"seed {plan.seed} (TORTURE_SEED={plan.seed} repeats it)\n{report(outcome)}"
    return outcome


def not_dealt(outcome: Outcome, faults: Sequence[Fault]) -> set[str]:
    """The kinds of fault that the nemesis has not even tried."""
    tried = {*outcome.deeds.done, *(name.rpartition(": ")[0] for name in outcome.deeds.idle)}
    return {fault.name for fault in faults} - tried


# A fault may wait for something that another one has broken.
@pytest.mark.timeout(600)
async def test_no_fault_costs_a_rating_or_counts_one_twice(arena: Arena) -> None:
    plan = Plan(seed=SEED, seconds=30, habits=Habits(waits=0.2))
    outcome = await outcome_of(arena, plan)
    told = report(outcome)
    assert not not_dealt(outcome, FAULTS), told
    # A fault that needs a batch on its way, or a service that answers, finds none five times over where the others
    # happen to keep it down. That depends on the machine; but a run that misses every fourth kind shows too little.
    assert len(outcome.deeds.done) >= len(FAULTS) * 3 / 4, told
    # Fewer would mean that the raters were shut out, and that nothing was at stake.
    assert outcome.history.counts["ratings acknowledged"] >= plan.raters, told
    # A worker died between line_provider's commit and the settling, and its messages were sent twice.
    assert arena.worker_link.traffic.verdicts["duplicate"] > 0, told


async def test_no_request_fails_while_score_maker_is_restarted_if_broken_connections_are_retried(arena: Arena) -> None:
    faults = [fault_of(stop_score_maker)]
    plan = Plan(seed=SEED, seconds=8, raters=60, habits=Habits(persistence=1), faults=faults)
    outcome = await outcome_of(arena, plan)
    told, counts = report(outcome), outcome.history.counts
    assert set(outcome.deeds.done) == {fault.name for fault in faults}, told
    # A refused connection, or one that was closed just as it was used again: both are tried once more.
    assert counts["outcome unknown: 503"] == 0, told
    assert counts["reads unavailable"] == 0, told
    assert counts["ratings acknowledged"] >= plan.raters, told


async def test_raters_who_wait_learn_what_has_become_of_their_ratings(arena: Arena) -> None:
    faults = [fault_of(inflict) for inflict in (cancel_event, cancel_event_under_ratings, kill_worker)]
    outcome = await outcome_of(arena, Plan(seed=SEED, seconds=6, raters=60, habits=Habits(waits=0.5), faults=faults))
    assert not not_dealt(outcome, faults), report(outcome)
    assert outcome.history.counts["submissions applied"] > 0, report(outcome)
