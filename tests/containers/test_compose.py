"""compose.yaml, as far as it can be tried without an engine; that it is valid, `make check` has looked at."""

import asyncio
import os
import re
from typing import Any

import asyncpg
import pytest
import yaml
from sqlalchemy.engine import make_url

import line_provider.storage.migrate
import score_maker.storage.migrate
from devstack.postgres import Postgres, binaries
from tests.containers.image import ROOT, example_settings

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = ("line-provider", "score-maker", "arq-worker")


def test_the_examples_settings_are_all_that_it_asks_for() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", (ROOT / "compose.yaml").read_text()))
    assert asked == example_settings(".").keys()


def test_a_token_that_two_services_share_is_the_same_in_both_examples() -> None:
    line_provider, worker = example_settings("line_provider"), example_settings("arq_worker")
    assert worker["ARQ_WORKER_LINE_PROVIDER_TOKEN"] == line_provider["LINE_PROVIDER_WORKER_TOKEN"]


def test_only_the_web_is_published_and_each_database_is_its_own_services_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"score-maker": ["8002:8000"], "grafana": ["127.0.0.1:3000:3000"]}
    reached_from = {
        network: {name for name, service in SERVICES.items() if network in service["networks"]}
        for network in ("line-provider-database", "score-maker-database")
    }
    assert reached_from == {
        "line-provider-database": {"line-provider-db", "line-provider-migrate", "demo-events", "line-provider"},
        "score-maker-database": {"score-maker-db", "score-maker-migrate", "score-maker", "arq-worker"},
    }
    assert all(COMPOSE["networks"][network]["internal"] for network in reached_from)


def test_everything_waits_for_what_it_needs() -> None:
    conditions = {
        name: {needed: each["condition"] for needed, each in service.get("depends_on", {}).items()}
        for name, service in SERVICES.items()
    }
    for name in OURS:
        assert conditions[name]
        for needed, condition in conditions[name].items():
            assert condition == ("service_completed_successfully" if "migrate" in needed else "service_healthy")


@pytest.mark.parametrize("name", OURS)
def test_our_services_are_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}


async def test_the_databases_first_start_makes_roles_that_the_migrations_and_services_can_use(
    postgres: Postgres,
) -> None:
    passwords = example_settings(".")
    for service in ("line-provider", "score-maker"):
        script = COMPOSE["configs"][f"{service}-roles"]["content"].replace("$$", "$")
        environment = {
            name: passwords[re.findall(r"\$\{(\w+)", str(value))[0]]
            for name, value in SERVICES[f"{service}-db"]["environment"].items()
        }
        host = str(make_url(postgres.url("", user="")).query["host"])
        process = await asyncio.create_subprocess_exec(
            *("sh", "-ec", script), env={"PATH": f"{binaries()}:{os.defpath}", "PGHOST": host, **environment}
        )
        assert await process.wait() == 0

    def url(setting: str, service: str) -> str:
        """What the container is told, on this server."""
        told = re.sub(r"\$\{(\w+)[^}]*\}", lambda match: passwords[match[1]], SERVICES[service]["environment"][setting])
        where = make_url(told)
        return postgres.url(where.database or "", user=where.username or "", password=where.password)

    await line_provider.storage.migrate.migrate(
        url("LINE_PROVIDER_DATABASE_URL", "line-provider-migrate"), "line_provider"
    )
    await score_maker.storage.migrate.migrate(
        url("SCORE_MAKER_DATABASE_URL", "score-maker-migrate"), app_role="score_maker", worker_role="arq_worker"
    )
    for setting, service, table in (
        ("LINE_PROVIDER_DATABASE_URL", "line-provider", "events"),
        ("SCORE_MAKER_DATABASE_URL", "score-maker", "scores"),
        ("ARQ_WORKER_DATABASE_URL", "arq-worker", "scores_outbox"),
    ):
        connection = await asyncpg.connect(url(setting, service).replace("+asyncpg", ""))
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0
        assert not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        await connection.close()
