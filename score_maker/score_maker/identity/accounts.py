"""Which rater a subject of the issuer is: an id in a row, so that deleting the row leaves nothing of the link.

The row is made at the subject's first rating, and erasing the rater deletes it; from then on the subject is another
rater. So whoever has read a row may hold the id of an erased rater, in this process or another. The statements that
matter find that out: the one that accepts submissions refuses an erased id, and reads join with the row themselves.
"""

import asyncio
import hmac
from collections import OrderedDict
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from sqlalchemy import ScalarSelect, Select, delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from score_maker.identity.anonymous import Rater, new_rater_id
from score_maker.storage.tables import raters
from scoreline_common.database import autocommit

# However many newcomers there are, the other connections stay free for the ratings of known raters.
_CONCURRENT_QUERIES = 2
_TIMEOUT_SECONDS = 5.0

# Of several concurrent statements, one makes the row and all return it.
_MAKE = text("""
    INSERT INTO raters AS known (subject_key, rater_id)
    VALUES (:subject_key, :rater_id)
    ON CONFLICT (subject_key) DO UPDATE
    SET rater_id = CASE known.rater_id WHEN :erased THEN excluded.rater_id ELSE known.rater_id END
    RETURNING rater_id
""")


@dataclass(frozen=True, slots=True)
class Subject:
    """A person whom the issuer knows. Only a row in `raters` says which rater that is.

    The key is the same for the same issuer, subject and secret key, and different for any other. Without the secret key
    nobody can compute it or test whose it is.
    """

    key: bytes

    @classmethod
    def of(cls, issuer: str, subject: str, secret_key: str) -> Self:
        """Raises ValueError if the subject is not text that can be encoded."""
        # A space ends the issuer, which is an address and has none. Nothing else is signed with this prefix.
        named = f"subject of issuer {issuer} {subject}".encode()
        return cls(hmac.digest(secret_key.encode(), named, "sha256"))


class Accounts:
    """The rater of each subject. The `capacity` subjects used most recently are cached.

    Methods raise the database's errors if it is unreachable. `erased` is an id that turned out to belong to an erased
    rater; another id is returned then.
    """

    def __init__(self, engine: AsyncEngine, *, capacity: int = 100_000) -> None:
        self._engine = engine
        self._capacity = capacity
        self._cached: OrderedDict[bytes, UUID] = OrderedDict()
        self._queries = asyncio.Semaphore(_CONCURRENT_QUERIES)

    async def get(self, subject: Subject, *, erased: UUID | None = None) -> UUID | None:
        """Returns the subject's rater, who may have been erased since; None if it has none."""
        cached = self._cached.get(subject.key)
        if cached is not None and cached != erased:
            self._cached.move_to_end(subject.key)
            return cached
        found = await self.look_up(subject)
        if found is None or found == erased:
            return None
        self._cache(subject, found)
        return found

    async def get_or_make(self, subject: Subject, *, erased: UUID | None = None) -> UUID:
        """Returns the subject's rater, who may have been erased since; makes one if it has none."""
        known = await self.get(subject, erased=erased)
        if known is not None:
            return known
        values = {"subject_key": subject.key, "rater_id": new_rater_id(), "erased": erased}
        async with asyncio.timeout(_TIMEOUT_SECONDS), self._queries, autocommit(self._engine) as connection:
            made: UUID = (await connection.scalars(_MAKE, values)).one()
        self._cache(subject, made)
        return made

    async def look_up(self, subject: Subject) -> UUID | None:
        """Returns the subject's rater as the database has it now, and caches nothing."""
        self._cached.pop(subject.key, None)
        async with asyncio.timeout(_TIMEOUT_SECONDS), self._queries, autocommit(self._engine) as connection:
            found: UUID | None = await connection.scalar(_select(subject))
        return found

    def _cache(self, subject: Subject, rater_id: UUID) -> None:
        self._cached[subject.key] = rater_id
        self._cached.move_to_end(subject.key)
        if len(self._cached) > self._capacity:
            self._cached.popitem(last=False)


def id_of(rater: Rater | Subject) -> UUID | ScalarSelect[UUID]:
    """For queries of scores: the rater's id, or a subquery for the one that the subject has when the query runs."""
    return rater.id if isinstance(rater, Rater) else _select(rater).scalar_subquery()


async def unlink(connection: AsyncConnection, rater_id: UUID) -> None:
    """Deletes the link from a subject to the rater, if there is one."""
    await connection.execute(delete(raters).where(raters.c.rater_id == rater_id))


def _select(subject: Subject) -> Select[UUID]:
    return select(raters.c.rater_id).where(raters.c.subject_key == subject.key)
