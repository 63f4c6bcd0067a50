"""Runs group commit the way a process does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.ratings.group_commit import GroupCommit
from scoreline_common.background import BackgroundTasks


@asynccontextmanager
async def committing(engine: AsyncEngine, **limits: int) -> AsyncIterator[GroupCommit]:
    """A running group commit. Leaving the context commits the submissions that are still waiting."""
    group_commit = GroupCommit(engine, **limits)
    async with BackgroundTasks() as background:
        background.start("group-commit", group_commit.run())
        try:
            yield group_commit
        finally:
            group_commit.close()
            await background.finish("group-commit")
