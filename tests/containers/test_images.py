"""The images, as far as they can be made without an engine: see docs/deployment.md for what that leaves out."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient

from devstack.addresses import Address
from devstack.postgres import Postgres
from devstack.processes import Process
from devstack.valkey import Valkey
from scripts.bootstrap import package_index
from tests.containers.image import ROOT, Image, built, example_settings
from tests.support.waiting import eventually

# It installs three services from their locks.
pytestmark = pytest.mark.timeout(900)

SERVICES = ("line_provider", "score_maker", "arq_worker")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    index = package_index()

    def build(service: str) -> Image:
        return built(ROOT / service / "Dockerfile", tmp_path_factory.mktemp(service), index)

    with ThreadPoolExecutor() as builders:
        return dict(zip(SERVICES, builders.map(build, SERVICES), strict=True))


@pytest.fixture
async def databases(postgres: Postgres) -> dict[str, str]:
    """URLs of the owners and of the worker, which the example's settings name."""
    return {
        "LINE_PROVIDER_DATABASE_URL": await postgres.create_database(
            "image_events", owner="image_events", password="secret"
        ),
        "SCORE_MAKER_DATABASE_URL": await postgres.create_database(
            "image_scores", owner="image_scores", password="secret"
        ),
        "ARQ_WORKER_DATABASE_URL": await postgres.create_role(
            "image_worker", password="secret", database="image_scores"
        ),
    }


async def test_each_entry_point_works_with_the_examples_settings_from_what_the_image_has(
    images: dict[str, Image], databases: dict[str, str], valkey: Valkey, tmp_path: Path
) -> None:
    http, grpc = Address.free(), Address.free()
    # Where the parts find each other, which compose.yaml says for containers; the rest is the example's or the image's.
    places = databases | {
        "LINE_PROVIDER_LISTEN": str(grpc),
        "SCORE_MAKER_HOST": http.host,
        "SCORE_MAKER_PORT": str(http.port),
        "SCORE_MAKER_REDIS_URL": valkey.url,
        "ARQ_WORKER_REDIS_URL": valkey.url,
        "SCORE_MAKER_LINE_PROVIDER_ADDRESS": str(grpc),
        "ARQ_WORKER_LINE_PROVIDER_ADDRESS": str(grpc),
        "SCORE_MAKER_WORKER_ROLE": "image_worker",
        "no_grpc_proxy": grpc.host,
    }

    def environment(service: str) -> dict[str, str]:
        return {"PATH": os.defpath} | images[service].environment | example_settings(service) | places

    async def once(service: str, command: list[str]) -> int:
        process = await asyncio.create_subprocess_exec(*command, env=environment(service), cwd=tmp_path)
        return await process.wait()

    def probe(service: str) -> list[str]:
        return [part.replace("127.0.0.1:8000", str(http)) for part in images[service].probe()]

    @asynccontextmanager
    async def running(service: str) -> AsyncIterator[Process]:
        process = Process(
            service,
            images[service].run(),
            state=tmp_path,
            environment=lambda: environment(service),
            is_ready=lambda: _succeeds(once(service, probe(service))),
        )
        async with process:
            yield process

    assert await once("line_provider", images["line_provider"].run("migrate")) == 0
    assert await once("score_maker", images["score_maker"].run("migrate")) == 0
    added = ("events", "add", "Opening night", "--starts-at", "2026-01-01T20:00Z", "--deadline", "2100-01-01T20:00Z")
    assert await once("line_provider", images["line_provider"].run(*added)) == 0
    async with (
        running("line_provider"),
        running("score_maker"),
        running("arq_worker"),
        AsyncClient(base_url=f"http://{http}") as rater,
    ):

        async def event() -> Any:
            return next(iter((await rater.get("/events")).json().get("events", [])), None)

        async def known() -> bool:
            return await event() is not None

        await eventually(known)
        path = f"/events/{(await event())['event_id']}/score"
        answer = await rater.post(path, json={"score": 5}, headers={"Prefer": "wait=20"})
        assert (answer.status_code, answer.json()["state"]) == (201, "confirmed")


async def _succeeds(status: Awaitable[int]) -> bool:
    return await status == 0
