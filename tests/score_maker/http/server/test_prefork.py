"""Several server processes on one port (SCORE_MAKER_WORKERS), started by the real command."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from httpx import AsyncClient, Limits, TransportError
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.addresses import Address
from devstack.processes import SETTINGS_ARE_WRONG, Process
from score_maker.identity.anonymous import RaterTokens
from score_maker.settings import Settings
from tests.support.rating import rate
from tests.support.scripted_line_provider import ScriptedLineProvider, event
from tests.support.waiting import eventually

WORKERS = 2
# A new connection for each request, so that both processes get some of them.
NEW_CONNECTIONS = Limits(max_keepalive_connections=0)


@pytest.fixture
async def served(
    settings: Settings, line_provider: ScriptedLineProvider, tmp_path: Path
) -> AsyncIterator[tuple[Process, AsyncClient]]:
    line_provider.put(event(1), event(2))
    address = Address.free()
    async with AsyncClient(base_url=f"http://{address}", limits=NEW_CONNECTIONS, timeout=30) as client:

        async def lists_events() -> bool:
            try:
                listed = await client.get("/events")
            except TransportError:
                return False
            return listed.status_code == 200

        process = Process(
            "score_maker",
            [Path(sys.executable).with_name("score-maker"), "serve"],
            state=tmp_path,
            environment=lambda: {
                "SCORE_MAKER_WORKERS": str(WORKERS),
                "SCORE_MAKER_PORT": str(address.port),
                "SCORE_MAKER_RATE_LIMIT_ADDRESS": "off",
            },
            is_ready=lists_events,
        )
        async with process:
            await until_serving(process)
            yield process, client


def workers(process: Process) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return [each for each in children if each.status() != psutil.STATUS_ZOMBIE and "worker" in each.cmdline()]


async def until_serving(process: Process) -> None:
    """Returns once all workers serve."""
    await eventually(lambda: process.output().count("event_watch_connected") >= WORKERS, within=60)


async def counted(client: AsyncClient, name: str) -> float:
    families = text_string_to_metric_families((await client.get("/metrics")).text)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


async def rate_both_events(client: AsyncClient, settings: Settings, raters: int) -> None:
    """Submits ratings of both events by this many new raters, all at once."""
    mint = RaterTokens(settings.secret_key.get_secret_value()).mint
    tokens = [mint().token for _ in range(raters)]
    answers = await asyncio.gather(
        *(
            rate(client, 5, event_id=event_id, headers={"Authorization": f"Bearer {token}"})
            for token in tokens
            for event_id in (1, 2)
        )
    )
    assert {answer.status_code for answer in answers} == {202}


async def test_all_workers_accept_ratings_and_each_reports_the_metrics_of_all(
    served: tuple[Process, AsyncClient], settings: Settings, engine: AsyncEngine
) -> None:
    process, client = served
    await rate_both_events(client, settings, 100)
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM scores_outbox")) == 200
    assert len(workers(process)) == WORKERS
    # Any worker may answer.
    for _ in range(10):
        assert await counted(client, "scoreline_submissions_total") == 200
        assert await counted(client, "scoreline_events_stale") == 0


async def test_concurrent_submissions_of_one_rater_in_two_processes_have_consecutive_versions(
    served: tuple[Process, AsyncClient], settings: Settings, engine: AsyncEngine
) -> None:
    _, client = served
    token = RaterTokens(settings.secret_key.get_secret_value()).mint().token
    headers = {"Authorization": f"Bearer {token}"}
    answers = await asyncio.gather(*(rate(client, 1 + number % 5, headers=headers) for number in range(40)))
    assert {answer.status_code for answer in answers} == {202}
    async with engine.connect() as connection:
        (versions,) = (await connection.scalars(text("SELECT version FROM scores"))).all()
        queued = (await connection.scalars(text("SELECT version FROM scores_outbox ORDER BY version"))).all()
    assert queued == list(range(1, versions + 1))


async def test_a_dead_worker_is_replaced_and_its_metrics_are_kept(
    served: tuple[Process, AsyncClient], settings: Settings
) -> None:
    process, client = served
    await rate_both_events(client, settings, 10)
    before = {each.pid for each in workers(process)}
    workers(process)[0].kill()
    await eventually(lambda: bool({each.pid for each in workers(process)} - before))
    await eventually(lambda: process.output().count("event_watch_connected") > WORKERS)
    await rate_both_events(client, settings, 10)
    assert await counted(client, "scoreline_submissions_total") == 40
    assert "worker_ended" in process.output()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_all_workers_cleanly(served: tuple[Process, AsyncClient], number: signal.Signals) -> None:
    process, _ = served
    children = workers(process)
    process.send_signal(number)
    assert await process.wait() == 0
    assert not any(each.is_running() for each in children)


async def test_workers_do_not_outlive_their_parent(served: tuple[Process, AsyncClient]) -> None:
    process, _ = served
    children = workers(process)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await eventually(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in children))


async def test_an_invalid_setting_stops_the_whole_service(settings: Settings, tmp_path: Path) -> None:
    process = Process(
        "score_maker",
        [Path(sys.executable).with_name("score-maker"), "serve"],
        state=tmp_path,
        environment=lambda: {"SCORE_MAKER_WORKERS": "none"},
    )
    async with process:
        assert await process.wait() == SETTINGS_ARE_WRONG
    assert process.output().startswith("SCORE_MAKER_WORKERS: ")
