"""Which rater a subject of the issuer is: an id in a row, so that nothing is left of the link once it is deleted.

The row is made at the subject's first rating, and forgetting the rater deletes it; from then on the subject is another
rater. So whatever has read a row may hold a forgotten id, here or in another process. That is found out where it
matters: the statement that accepts ratings accepts none under a forgotten id, and reads look for the row themselves.
"""

import asyncio
from collections import OrderedDict
from uuid import UUID

from sqlalchemy import ScalarSelect, Select, delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from score_maker.identity.anonymous import Rater, Subject, new_rater_id
from score_maker.storage.tables import raters
from scoreline_common.database import autocommit

# However many newcomers there are, the other connections are for the ratings of those who are known.
_ASKING_AT_ONCE = 2
_LONGEST_SECONDS = 5.0

# Of several at once, one makes the row and all are answered with it.
_MAKE = text("""
    INSERT INTO raters AS known (subject_key, rater_id)
    VALUES (:subject_key, :rater_id)
    ON CONFLICT (subject_key) DO UPDATE
    SET rater_id = CASE known.rater_id WHEN :forgotten THEN excluded.rater_id ELSE known.rater_id END
    RETURNING rater_id
""")


class IssuedRaters:
    """Knows the rater of each subject, and those of the `capacity` subjects that came last without asking for it.

    Its methods raise what a database that cannot be reached does. `forgotten` is an id that was found to be a forgotten
    rater's: the answer is another one.
    """

    def __init__(self, engine: AsyncEngine, *, capacity: int = 100_000) -> None:
        self._engine = engine
        self._capacity = capacity
        self._remembered: OrderedDict[bytes, UUID] = OrderedDict()
        self._asking = asyncio.Semaphore(_ASKING_AT_ONCE)

    async def get(self, subject: Subject, *, forgotten: UUID | None = None) -> UUID | None:
        """The subject's rater, who may have been forgotten since; None where it has none."""
        remembered = self._remembered.get(subject.key)
        if remembered is not None and remembered != forgotten:
            self._remembered.move_to_end(subject.key)
            return remembered
        found = await self.look_up(subject)
        if found is None or found == forgotten:
            return None
        self._remember(subject, found)
        return found

    async def get_or_make(self, subject: Subject, *, forgotten: UUID | None = None) -> UUID:
        """The subject's rater, who may have been forgotten since; a new one where it has none."""
        known = await self.get(subject, forgotten=forgotten)
        if known is not None:
            return known
        values = {"subject_key": subject.key, "rater_id": new_rater_id(), "forgotten": forgotten}
        async with asyncio.timeout(_LONGEST_SECONDS), self._asking, autocommit(self._engine) as connection:
            made: UUID = (await connection.scalars(_MAKE, values)).one()
        self._remember(subject, made)
        return made

    async def look_up(self, subject: Subject) -> UUID | None:
        """The subject's rater as the database has it now. None is remembered of it."""
        self._remembered.pop(subject.key, None)
        async with asyncio.timeout(_LONGEST_SECONDS), self._asking, autocommit(self._engine) as connection:
            found: UUID | None = await connection.scalar(_select(subject))
        return found

    def _remember(self, subject: Subject, rater_id: UUID) -> None:
        self._remembered[subject.key] = rater_id
        self._remembered.move_to_end(subject.key)
        if len(self._remembered) > self._capacity:
            self._remembered.popitem(last=False)


def whose(rater: Rater | Subject) -> UUID | ScalarSelect[UUID]:
    """For reading scores: the rater's id, or a query for that which the subject has by then."""
    return rater.id if isinstance(rater, Rater) else _select(rater).scalar_subquery()


async def unlink(connection: AsyncConnection, rater_id: UUID) -> None:
    """Deletes what leads from a subject to the rater, if anything does."""
    await connection.execute(delete(raters).where(raters.c.rater_id == rater_id))


def _select(subject: Subject) -> Select[UUID]:
    return select(raters.c.rater_id).where(raters.c.subject_key == subject.key)
