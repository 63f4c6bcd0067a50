"""Migrations of score_maker's database."""

import asyncio

from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.storage.migrate import migrate
from tests.support.submitting import outbox_rows, rating, submit


async def test_migrating_again_and_several_at_once_changes_nothing(engine: AsyncEngine, owner_url: str) -> None:
    await submit(engine, rating(3))
    await asyncio.gather(migrate(owner_url), migrate(owner_url))
    assert len(await outbox_rows(engine)) == 1
