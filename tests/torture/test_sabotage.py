"""The checker is checked: whatever protection is taken away, it notices."""

import pytest

from tests.torture.arena import Arena
from tests.torture.sabotage import (
    EXPOSURES,
    Exposure,
    batches_name_their_events_crosswise,
    sabotaged,
    worker_outlives_its_lease,
)


@pytest.mark.parametrize("exposure", EXPOSURES, ids=str)
async def test_the_checker_notices_that_a_protection_is_gone(arena: Arena, exposure: Exposure) -> None:
    async with sabotaged(arena, exposure.sabotage):
        violations = await exposure.scenario(arena)
    assert exposure.broken & {violation.promise for violation in violations}


async def test_a_worker_that_outlives_its_lease_changes_nothing(arena: Arena) -> None:
    assert await worker_outlives_its_lease(arena) == []


async def test_batches_that_name_their_events_crosswise_do_not_hold_each_other_up(arena: Arena) -> None:
    assert await batches_name_their_events_crosswise(arena) == []
