"""The released version and this one side by side, as during an upgrade: see docs/operations.md."""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from httpx import AsyncClient, Response

from devstack.addresses import Address
from devstack.processes import Process
from devstack.system import MANY_RATERS, System
from tests.support.waiting import Check, eventually

# The version in use. Each release updates this; code that only older versions need can then be removed.
RELEASED = "9089ea3bdac89b048bb79e6028a895523223ad8b"

REPOSITORY = Path(__file__).parents[2]
PARTS = ("contracts", "telemetry", "line_provider", "score_maker", "arq_worker")


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of the released version."""
    if subprocess.run(["git", "cat-file", "-e", RELEASED], cwd=REPOSITORY, check=False).returncode:
        pytest.skip(f"the history that has the released version {RELEASED} is not here")
    archive = subprocess.run(["git", "archive", RELEASED, *PARTS], cwd=REPOSITORY, check=True, capture_output=True)
    folder = tmp_path_factory.mktemp("released")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory, released: Path) -> AsyncIterator[System]:
    """A system whose processes run the released version, until a test removes PYTHONPATH from its settings."""
    packages = (released / "contracts" / "generated", *(released / part for part in PARTS[1:]))
    settings = {**MANY_RATERS, "PYTHONPATH": os.pathsep.join(map(str, packages))}
    async with System(tmp_path_factory.mktemp("upgraded"), settings=settings) as system:
        yield system


async def test_each_part_can_be_replaced_while_the_others_still_run_the_released_version(
    system: System, everything_settled: Check, both_databases_agree: Check
) -> None:
    values = (1 + number % 5 for number in count())

    async def rate_through(*services: Process) -> None:
        """New raters each rate an open event through one service, and change and withdraw through the next."""
        urls = [addresses[service.name].local for service in services]
        for here, there in zip(urls, urls[1:] + urls[:1], strict=True):
            async with AsyncClient() as rater:
                events = (await rater.get(f"http://{here}/events?phase=open")).json()["events"]
                path = f"/events/{events[0]['event_id']}/score"

                def accepted(answer: Response) -> None:
                    assert answer.status_code == 202, answer.text

                accepted(await rater.post(f"http://{here}{path}", json={"score": next(values)}))
                accepted(await rater.post(f"http://{there}{path}", json={"score": next(values)}))
                if next(values) == 5:
                    accepted(await rater.delete(f"http://{here}{path}"))
        await everything_settled()
        await both_databases_agree()

    addresses = {system.score_maker.name: system.http}
    await rate_through(system.score_maker)

    del system.settings["PYTHONPATH"]
    await system.migrate_line_provider()
    await system.migrate_score_maker()
    await rate_through(system.score_maker)

    await system.line_provider.stop()
    await system.line_provider.start()
    await eventually(lambda: is_fresh(system.http))
    await rate_through(system.score_maker)

    addresses["new_score_maker"] = Address.free()
    new_worker = system.another_worker("new_worker")
    async with system.another_score_maker("new_score_maker", addresses["new_score_maker"]) as new_score_maker:
        # Settled by the released worker alone, by both, and by the new one alone.
        await rate_through(system.score_maker, new_score_maker)
        async with new_worker:
            await rate_through(system.score_maker, new_score_maker)
            await system.arq_worker.stop()
            await rate_through(system.score_maker, new_score_maker)
            await system.score_maker.stop()
            await rate_through(new_score_maker)


async def is_fresh(address: Address) -> bool:
    async with AsyncClient() as client:
        return not (await client.get(f"http://{address.local}/events")).json()["stale"]


def test_the_contract_is_compatible_with_clients_and_servers_of_the_released_one(released: Path) -> None:
    breaking = subprocess.run(
        [Path(sys.executable).with_name("buf"), "breaking", "contracts", "--against", released / "contracts"],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
    )
    assert breaking.returncode == 0, breaking.stdout + breaking.stderr
