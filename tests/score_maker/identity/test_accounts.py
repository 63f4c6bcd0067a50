"""A subject of an issuer is one rater until it is erased, and another one afterwards."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.identity.accounts import Accounts, Subject
from score_maker.settings import Settings
from tests.support.rating import rate
from tests.support.scripted_issuer import ScriptedIssuer, rsa
from tests.support.scripted_line_provider import ScriptedLineProvider, event
from tests.support.serving import trusting

KEY = rsa("the-first")
SECRET = "a-secret-for-tests-that-is-long-enough"
NOBODYS = "postgresql://a:b@/c?host=/nonexistent"


@pytest.fixture
async def issuer() -> AsyncIterator[ScriptedIssuer]:
    async with ScriptedIssuer(KEY) as issuer:
        yield issuer


@pytest.fixture
def ann(issuer: ScriptedIssuer) -> dict[str, str]:
    """The headers of the subject "ann"."""
    return bearer(issuer, "ann")


@pytest.fixture
async def trustful(
    settings: Settings, line_provider: ScriptedLineProvider, issuer: ScriptedIssuer
) -> AsyncIterator[AsyncClient]:
    """score_maker with events 1 to 3 open."""
    line_provider.put(event(2), event(3))
    async with trusting(settings, line_provider, issuer) as client:
        yield client


@pytest.fixture
async def another(
    trustful: AsyncClient, settings: Settings, line_provider: ScriptedLineProvider, issuer: ScriptedIssuer
) -> AsyncIterator[AsyncClient]:
    """A second score_maker on the same stores."""
    async with trusting(settings, line_provider, issuer) as client:
        yield client


def bearer(issuer: ScriptedIssuer, subject: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {issuer.token(KEY, sub=subject)}"}


async def rate_as(api: AsyncClient, account: dict[str, str], event_id: int = 1, value: int = 4) -> Response:
    return await rate(api, value, event_id=event_id, headers=account)


async def listed(api: AsyncClient, who: dict[str, str]) -> list[int]:
    """The events that the rater has rated. Every way of reading the ratings must agree on them."""
    mine = sorted(score["event_id"] for score in (await api.get("/scores", headers=who)).json()["scores"])
    events = (await api.get("/events", headers=who)).json()["events"]
    assert mine == sorted(each["event_id"] for each in events if each["my_score"])
    for each in events:
        event_id = each["event_id"]
        is_mine = event_id in mine
        assert (await api.get(f"/events/{event_id}/score", headers=who)).status_code == (200 if is_mine else 404)
        one = await api.get(f"/events/{event_id}", headers=who)
        assert (one.json()["my_score"] is not None) is is_mine
    return mine


async def links(engine: AsyncEngine) -> dict[bytes, UUID]:
    async with engine.connect() as connection:
        return {row.subject_key: row.rater_id for row in await connection.execute(text("SELECT * FROM raters"))}


async def raters_of(engine: AsyncEngine, event_id: int) -> set[UUID]:
    async with engine.connect() as connection:
        query = text("SELECT rater_id FROM scores WHERE event_id = :event_id")
        return set(await connection.scalars(query, {"event_id": event_id}))


@contextmanager
def counted(engine: AsyncEngine) -> Iterator[list[str]]:
    """The statements that the database receives inside the block."""
    statements: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    sqlalchemy_event.listen(engine.sync_engine, "before_cursor_execute", count)
    yield statements
    sqlalchemy_event.remove(engine.sync_engine, "before_cursor_execute", count)


def test_a_subjects_key_is_stable_and_unique() -> None:
    ann = Subject.of("https://a.example", "ann", SECRET)
    assert ann == Subject.of("https://a.example", "ann", SECRET)
    assert len(ann.key) == 32
    others = {
        Subject.of("https://b.example", "ann", SECRET),
        Subject.of("https://a.example", "bob", SECRET),
        Subject.of("https://a.example", "ann", SECRET[::-1]),
        Subject.of("https://a.example", " ann", SECRET),
        Subject.of("https://a.example/x", "y", SECRET),
        Subject.of("https://a.example/", "xy", SECRET),
    }
    assert len(others | {ann}) == 7


async def test_only_the_first_rating_creates_a_rater(
    trustful: AsyncClient, line_provider: ScriptedLineProvider, issuer: ScriptedIssuer, engine: AsyncEngine
) -> None:
    ann = bearer(issuer, "ann")
    assert await listed(trustful, ann) == []
    assert (await trustful.delete("/events/1/score", headers=ann)).status_code == 404
    assert (await rate_as(trustful, ann, event_id=99)).status_code == 404
    assert (await rate_as(trustful, ann, value=6)).status_code == 422
    assert await links(engine) == {}
    assert (await trustful.delete("/scores", headers=ann)).json() == {"withdrawn": 0, "anonymised": 0}
    assert await links(engine) == {}

    assert (await rate_as(trustful, ann)).status_code == 202
    key = Subject.of(issuer.name, "ann", SECRET).key
    (made,) = await raters_of(engine, 1)
    assert await links(engine) == {key: made}
    assert await listed(trustful, ann) == [1]
    assert await listed(trustful, bearer(issuer, "bob")) == []


async def test_two_tokens_of_one_subject_are_the_same_rater_in_every_process(
    trustful: AsyncClient, another: AsyncClient, issuer: ScriptedIssuer, engine: AsyncEngine
) -> None:
    first = await rate_as(trustful, bearer(issuer, "ann"), value=4)
    token = {"Authorization": f"Bearer {issuer.token(KEY, jti='another one')}"}
    second = await rate_as(another, token, value=5)
    assert (first.json()["version"], second.json()["version"]) == (1, 2)
    assert len(await links(engine)) == len(await raters_of(engine, 1)) == 1


async def test_concurrent_first_ratings_create_one_rater(
    trustful: AsyncClient, another: AsyncClient, ann: dict[str, str], engine: AsyncEngine
) -> None:
    answers = await asyncio.gather(
        *(rate_as(api, ann, event_id) for _ in range(5) for event_id in (1, 2, 3) for api in (trustful, another))
    )
    assert {answer.status_code for answer in answers} == {202}
    (one,) = (await links(engine)).values()
    for event_id in (1, 2, 3):
        assert await raters_of(engine, event_id) == {one}
    assert {answer.json()["version"] for answer in answers} == {1}


async def test_an_erased_subject_is_a_new_rater_in_every_process(
    trustful: AsyncClient, another: AsyncClient, ann: dict[str, str], engine: AsyncEngine
) -> None:
    for api in (trustful, another):
        assert (await rate_as(api, ann)).status_code == 202
    (old,) = await raters_of(engine, 1)
    assert (await trustful.delete("/scores", headers=ann)).json() == {"withdrawn": 1, "anonymised": 0}
    assert await links(engine) == {}
    for api in (trustful, another):
        assert await listed(api, ann) == []
        assert (await api.delete("/events/1/score", headers=ann)).status_code == 404

    first_again = await rate_as(another, ann, value=2)
    assert (first_again.status_code, first_again.json()["version"]) == (202, 1)
    (new,) = await raters_of(engine, 1) - {old}
    assert list((await links(engine)).values()) == [new]
    for api in (trustful, another):
        assert await listed(api, ann) == [1]
    for api in (trustful, another):
        assert (await rate_as(api, ann, event_id=2)).status_code == 202
    assert await raters_of(engine, 2) == {new}


async def test_a_withdrawal_belongs_to_the_new_rater_even_if_the_process_has_cached_the_erased_one(
    trustful: AsyncClient, another: AsyncClient, ann: dict[str, str]
) -> None:
    await rate_as(another, ann)
    await trustful.delete("/scores", headers=ann)
    await rate_as(trustful, ann, value=2)
    withdrawn = await another.delete("/events/1/score", headers=ann)
    assert (withdrawn.status_code, withdrawn.json()["version"], withdrawn.json()["score"]) == (202, 2, None)


async def test_an_erasure_erases_the_new_rater_even_if_the_process_has_cached_the_erased_one(
    trustful: AsyncClient, another: AsyncClient, ann: dict[str, str], engine: AsyncEngine
) -> None:
    await rate_as(another, ann)
    await trustful.delete("/scores", headers=ann)
    await rate_as(trustful, ann, event_id=2)
    assert (await another.delete("/scores", headers=ann)).json() == {"withdrawn": 1, "anonymised": 0}
    assert await links(engine) == {}
    for api in (trustful, another):
        assert await listed(api, ann) == []


async def test_ratings_during_an_erasure_belong_to_the_new_rater_or_are_withdrawn(
    trustful: AsyncClient, another: AsyncClient, ann: dict[str, str], engine: AsyncEngine
) -> None:
    await rate_as(trustful, ann)
    ratings = [rate_as(api, ann, event_id, 5) for event_id in (1, 2, 3) for api in (trustful, another)]
    *answers, erased = await asyncio.gather(*ratings, trustful.delete("/scores", headers=ann))
    assert erased.status_code == 202
    assert {answer.status_code for answer in answers} == {202}
    standing = set((await links(engine)).values())
    assert len(standing) <= 1
    async with engine.connect() as connection:
        visible = text("SELECT DISTINCT rater_id FROM scores WHERE value IS NOT NULL")
        remembered = text("SELECT rater_id FROM forgotten_raters")
        assert set(await connection.scalars(visible)) - set(await connection.scalars(remembered)) == standing


async def test_repeating_an_erasure_erases_nobody_else(
    trustful: AsyncClient, issuer: ScriptedIssuer, ann: dict[str, str], engine: AsyncEngine
) -> None:
    bob = bearer(issuer, "bob")
    for who in (ann, bob):
        await rate_as(trustful, who)
    answers = await asyncio.gather(*(trustful.delete("/scores", headers=ann) for _ in range(5)))
    assert sorted(answer.json()["withdrawn"] for answer in answers) == [0, 0, 0, 0, 1]
    assert (await trustful.delete("/scores", headers=ann)).json() == {"withdrawn": 0, "anonymised": 0}
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM forgotten_raters")) == 1
    assert await listed(trustful, bob) == [1]


async def test_a_subject_can_rate_although_a_restored_backup_links_it_to_an_erased_rater(
    trustful: AsyncClient, ann: dict[str, str], engine: AsyncEngine
) -> None:
    await rate_as(trustful, ann)
    async with engine.begin() as connection:
        await connection.execute(text("INSERT INTO forgotten_raters SELECT rater_id, now() FROM raters"))
    assert (await trustful.delete("/events/1/score", headers=ann)).status_code == 404
    first_again = await rate_as(trustful, ann)
    assert (first_again.status_code, first_again.json()["version"]) == (202, 1)
    assert await listed(trustful, ann) == [1]


async def test_an_erasure_does_not_reset_the_rate_limit(
    settings: Settings, line_provider: ScriptedLineProvider, issuer: ScriptedIssuer, ann: dict[str, str]
) -> None:
    async with trusting(settings, line_provider, issuer, rate_limit_rater="3/minute") as api:
        statuses = [
            (await rate_as(api, ann)).status_code,
            (await api.delete("/scores", headers=ann)).status_code,
            (await rate_as(api, ann)).status_code,
            (await rate_as(api, ann)).status_code,
            (await rate_as(api, bearer(issuer, "bob"))).status_code,
        ]
    assert statuses == [202, 202, 202, 429, 202]


async def test_events_are_served_without_the_database_and_the_rest_is_503(
    settings: Settings, line_provider: ScriptedLineProvider, issuer: ScriptedIssuer, ann: dict[str, str]
) -> None:
    async with trusting(settings, line_provider, issuer, database_url=NOBODYS) as api:
        for path in ("/events", "/events/1"):
            answer = await api.get(path, headers=ann)
            assert (answer.status_code, answer.json()["my_score_unknown"]) == (200, True)
        for method, path in (
            ("POST", "/events/1/score"),
            ("DELETE", "/events/1/score"),
            ("GET", "/events/1/score"),
            ("GET", "/scores"),
            ("DELETE", "/scores"),
        ):
            answer = await api.request(method, path, json={"score": 5} if method == "POST" else None, headers=ann)
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable"), (method, path)
            assert int(answer.headers["Retry-After"]) > 0


async def test_a_preflight_needs_no_token(
    settings: Settings, line_provider: ScriptedLineProvider, issuer: ScriptedIssuer
) -> None:
    asking = {
        "Origin": "https://portal.example.org",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    async with trusting(settings, line_provider, issuer, cors_origins=asking["Origin"]) as api:
        assert (await api.options("/events/1/score", headers=asking)).status_code == 200
        refused = await rate_as(api, {"Origin": asking["Origin"]})
        assert refused.status_code == 401
        assert refused.headers["Access-Control-Allow-Origin"] == asking["Origin"]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
async def test_other_methods_are_answered_as_they_are_for_anonymous_raters(
    trustful: AsyncClient, api: AsyncClient, ann: dict[str, str], engine: AsyncEngine, method: str
) -> None:
    for path in ("/", "/events", "/events/1", "/events/1/score", "/scores"):
        expected = await api.request(method, path)
        for who in ({}, ann):
            answer = await trustful.request(method, path, headers=who)
            assert (answer.status_code, answer.headers.get("Allow")) == (
                expected.status_code,
                expected.headers.get("Allow"),
            )
            assert answer.status_code in {200, 405}
    assert await links(engine) == {}


async def test_a_cached_rater_needs_no_query(engine: AsyncEngine) -> None:
    raters = Accounts(engine)
    ann = Subject(b"a" * 32)
    made = await raters.get_or_make(ann)
    with counted(engine) as statements:
        assert await raters.get_or_make(ann) == await raters.get(ann) == made
    assert statements == []


async def test_the_cache_keeps_only_the_most_recent_subjects(engine: AsyncEngine) -> None:
    raters = Accounts(engine, capacity=2)
    ann, bob, eve = (Subject(letter * 32) for letter in (b"a", b"b", b"e"))
    made = {subject: await raters.get_or_make(subject) for subject in (ann, bob)}
    await raters.get(ann)
    await raters.get_or_make(eve)
    with counted(engine) as statements:
        assert await raters.get(ann) == made[ann]
        assert statements == []
        assert await raters.get(bob) == made[bob]
        assert len(statements) == 1
