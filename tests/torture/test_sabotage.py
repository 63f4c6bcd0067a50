"""A test of the checker: it notices each protection that is taken away."""

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


async def test_a_worker_that_outlives_its_lease_settles_nothing(arena: Arena) -> None:
    assert await worker_outlives_its_lease(arena) == []


async def test_batches_that_name_their_events_in_opposite_order_do_not_deadlock(arena: Arena) -> None:
    assert await batches_name_their_events_crosswise(arena) == []
