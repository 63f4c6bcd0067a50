"""The databases can be distributed by event, because every key and every statement names the event.

The statements are those that the running system sends. Those that span events are listed with their reasons, so that
none is added unnoticed.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlglot
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlglot import exp

from devstack.statement_log import Statement, StatementLog
from devstack.system import MANY_RATERS, System
from tests.support.waiting import eventually

# The tables that hold one or more rows for each event.
BY_EVENT = frozenset({"scores", "scores_outbox", "final_results", "applied_scores"})

# How each statement that spans events begins, and why it spans them.
ACROSS_EVENTS = {
    "WITH due AS ( SELECT event_id, id FROM scores_outbox": "the relay claims due messages of any event",
    "SELECT min(next_attempt_at) - now() FROM scores_outbox": "the relay sleeps until the next message is due",
    "SELECT count(*) AS messages": "operators see how many messages wait",
    "SELECT id, event_id, rater_id, value, version, accepted_at, now() - accepted_at AS age": "and which are stuck",
    "SELECT scores.event_id, scores.rater_id, scores.value": "a rater lists all of their own ratings",
    "SELECT event_id FROM scores WHERE rater_id": "an erasure covers all events of a rater",
    "WITH standing AS ( SELECT event_id, rater_id FROM scores JOIN forgotten_raters": "the same",
}


@pytest.fixture(scope="module")
async def statements(tmp_path_factory: pytest.TempPathFactory) -> list[Statement]:
    """The statements that both databases receive while raters and operators use the system in every way."""
    data: Path = tmp_path_factory.mktemp("captured")
    async with (
        System(data, settings=MANY_RATERS) as system,
        StatementLog(system.score_maker_postgres) as asked_score_maker,
        StatementLog(system.line_provider_postgres) as asked_line_provider,
    ):
        await use(system)

        def is_reconciled() -> bool:
            return any("last_reconciliation" in each.text for each in asked_score_maker.statements())

        async def has_worked() -> bool:
            return await asyncio.to_thread(is_reconciled)

        await eventually(has_worked)
        logged = [*asked_score_maker.statements(), *asked_line_provider.statements()]
    return [each for each in logged if each.role in {"score_maker_app", "arq_worker", "line_provider_app"}]


async def use(system: System) -> None:
    async with AsyncClient(base_url=system.http_url) as rater:
        listed = (await rater.get("/events", params={"phase": "open"})).json()["events"]
        first, second = (f"/events/{event['event_id']}" for event in listed[:2])
        for path, score in ((first, 2), (first, 5), (second, 3)):
            rated = await rater.post(f"{path}/score", json={"score": score}, headers={"Prefer": "wait=20"})
            assert rated.json()["state"] == "confirmed"
        for path in ("/events", first, f"{first}/score", "/scores"):
            (await rater.get(path)).raise_for_status()
        (await rater.delete(f"{first}/score", headers={"Prefer": "wait=20"})).raise_for_status()
        (await rater.delete("/scores")).raise_for_status()
        operator = {"Authorization": f"Bearer {system.operators_token}"}
        for path in ("/ops/saga", "/ops/outbox"):
            (await rater.get(path, headers=operator)).raise_for_status()


async def test_every_statement_names_the_event_or_is_listed_as_spanning_events(statements: list[Statement]) -> None:
    asked = {each.text for each in statements if any(table in each.text for table in BY_EVENT)}
    across = {each for each in asked if not names_event(each)}
    unexpected = {each for each in across if reason_of(each) is None}
    assert not unexpected
    # The list has no outdated entries either.
    assert {reason for each in across if (reason := reason_of(each))} == set(ACROSS_EVENTS)


async def test_the_statements_of_a_rating_were_captured_and_name_the_event(statements: list[Statement]) -> None:
    """Is needed because the test above would also pass if no statements were captured."""
    asked = [each.text for each in statements]
    for part in ("INSERT INTO scores ", "INSERT INTO applied_scores", "DELETE FROM scores_outbox", "UPDATE scores "):
        assert any(part in each and names_event(each) for each in asked), part


async def test_every_unique_key_includes_the_event(system: System) -> None:
    keys = text("""
        SELECT indrelid::regclass::text AS of_table, array_agg(attname::text) AS columns
        FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey::smallint[])
        WHERE indisunique AND indrelid::regclass::text = ANY(:tables)
        GROUP BY indrelid, indexrelid
    """)
    found = {}
    for url in (system.score_maker_database_url, system.line_provider_database_url):
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            for of_table, columns in await connection.execute(keys, {"tables": sorted(BY_EVENT)}):
                found[of_table] = columns
                assert "event_id" in columns, of_table
        await engine.dispose()
    assert set(found) == BY_EVENT


def reason_of(statement: str) -> str | None:
    return next((beginning for beginning in ACROSS_EVENTS if statement.startswith(beginning)), None)


def names_event(statement: str) -> bool:
    """Returns whether the statement names the event wherever it reads or writes one of the tables."""
    tables = sqlglot.parse_one(statement, read="postgres").find_all(exp.Table)
    return all(any(_parts_naming_event(_scope_of(table))) for table in tables if table.name in BY_EVENT)


def _scope_of(part: exp.Expr) -> exp.Expr:
    """The innermost query or change that contains this part."""
    scope = part.find_ancestor(exp.Select, exp.Update, exp.Delete, exp.Insert)
    assert scope is not None
    return scope


def _parts_naming_event(scope: exp.Expr) -> Iterator[bool]:
    """Yields, for each part of the scope that may name the event, whether it does."""
    if isinstance(scope, exp.Insert):
        yield _is_event(*scope.this.expressions)
    for equality in scope.find_all(exp.EQ):
        if _scope_of(equality) is scope:
            yield _is_event(equality.left, equality.right)
    for join in scope.find_all(exp.Join):
        if _scope_of(join) is scope:
            yield _is_event(*join.args.get("using") or ())


def _is_event(*parts: exp.Expr) -> bool:
    return any(part.name == "event_id" for part in parts)
