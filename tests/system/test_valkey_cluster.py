"""The whole system on a Valkey cluster instead of a single server."""

from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient
from redis.crc import key_slot

from arq_worker.schedule import QUEUE
from devstack.system import System
from tests.support.valkey_cluster import ValkeyCluster
from tests.support.waiting import Check, eventually


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ValkeyCluster]:
    async with ValkeyCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
async def system(cluster: ValkeyCluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    settings = {
        "SCORE_MAKER_REDIS_URL": cluster.url,
        "ARQ_WORKER_REDIS_URL": cluster.url,
        "SCORE_MAKER_RATE_LIMIT_RATER": "5/hour",
    }
    async with System(tmp_path_factory.mktemp("clustered"), settings=settings) as system:
        yield system


async def test_cache_queue_and_limits_work_on_a_cluster(
    system: System, cluster: ValkeyCluster, rater: AsyncClient, everything_settled: Check
) -> None:
    event = (await rater.get("/events", params={"phase": "open"})).json()["events"][0]
    path = f"/events/{event['event_id']}/score"
    # The first rating has no rater yet, so the limit of five per rater only counts from the second one.
    answers = [await rater.post(path, json={"score": 1 + number % 5}) for number in range(7)]
    assert [answer.status_code for answer in answers] == [202] * 6 + [429]
    await everything_settled()

    async def all_are_used() -> bool:
        kept = set[str]().union(*await cluster.keys_by_node())
        return all(
            any(key.startswith(prefix) for key in kept)
            for prefix in ("{scoreline:events}:", f"{QUEUE}:", "{scoreline}:arq:health-check", "scoreline:rate:")
        )

    await eventually(all_are_used)
    # arq does not support clusters: all of its keys have to be in the same slot as its queue.
    of_arq = {key for keys in await cluster.keys_by_node() for key in keys if "arq" in key or key.startswith(QUEUE)}
    assert {key_slot(key.encode()) for key in of_arq} == {key_slot(QUEUE.encode())}


async def test_events_are_served_from_the_cluster_while_line_provider_is_unreachable(
    system: System, rater: AsyncClient
) -> None:
    known = (await rater.get("/events", params={"limit": 100})).json()["events"]
    await system.line_provider.stop()
    await system.score_maker.stop()
    await system.score_maker.start()
    served = (await rater.get("/events", params={"limit": 100})).json()
    await system.line_provider.start()
    assert served["stale"] is True
    assert [event["event_id"] for event in served["events"]] == [event["event_id"] for event in known]


async def test_the_worker_finds_its_queue_after_it_moves_to_another_node(
    system: System, cluster: ValkeyCluster
) -> None:
    before = await cluster.keys_by_node()
    node = next(number for number, keys in enumerate(before) if any(key.startswith(f"{QUEUE}:") for key in keys))
    await cluster.move(QUEUE)

    async def reports_there() -> bool:
        after = await cluster.keys_by_node()
        return any("{scoreline}:arq:health-check" in keys for number, keys in enumerate(after) if number != node)

    await eventually(reports_there)
