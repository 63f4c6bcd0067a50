"""Overload: the service refuses the excess with 503, and stores every rating that it acknowledges."""

import asyncio

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.http.identity import COOKIE
from score_maker.settings import Settings
from tests.support.database import until_blocked
from tests.support.rating import rate
from tests.support.scripted_line_provider import ScriptedLineProvider, event
from tests.support.serving import serving
from tests.support.settling import count_written
from tests.support.waiting import eventually

MAY_WAIT = 5
REQUESTS = 30


async def test_beyond_its_capacity_the_service_answers_503_with_retry_after_and_loses_no_acknowledged_rating(
    settings: Settings, line_provider: ScriptedLineProvider, engine: AsyncEngine
) -> None:
    line_provider.put(event(1))
    async with serving(settings.model_copy(update={"max_waiting": MAY_WAIT})) as api:
        async with engine.begin() as connection:
            # A database that does not answer at all is the slowest possible one.
            await connection.execute(text("LOCK TABLE scores IN EXCLUSIVE MODE"))
            under_way = asyncio.create_task(rate(api, 1))
            await until_blocked(connection)
            requests = [asyncio.create_task(rate(api, number % 5 + 1)) for number in range(REQUESTS)]
            await eventually(lambda: sum(request.done() for request in requests) >= REQUESTS - MAY_WAIT, within=60)
            refused = [request.result() for request in requests if request.done()]
            assert len(refused) == REQUESTS - MAY_WAIT
            assert {(r.status_code, r.json()["type"]) for r in refused} == {(503, "/problems/unavailable")}
            assert all(int(r.headers["Retry-After"]) > 0 for r in refused)
            assert await count_written(engine) == (0, 0)
        acknowledged = [answer for answer in await asyncio.gather(under_way, *requests) if answer not in refused]
        assert [answer.status_code for answer in acknowledged] == [202] * (1 + MAY_WAIT)
        assert await count_written(engine) == (1 + MAY_WAIT, 1 + MAY_WAIT)
        for answer in acknowledged:
            kept = await api.get("/events/1/score", headers={"Cookie": f"{COOKIE}={answer.cookies[COOKIE]}"})
            assert kept.json() == answer.json()
        assert (await rate(api, 3)).status_code == 202
