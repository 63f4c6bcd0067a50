"""/ops/events over HTTP: operators add, change, cancel and import events, and line_provider decides."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from httpx import AsyncClient, Response

from score_maker.http.ops.events import LARGEST_BODIES, LARGEST_FILE_BYTES
from score_maker.settings import Settings
from scoreline.line_provider.v1 import events_pb2
from tests.support.operators import AS_OPERATOR, OPERATORS_TOKEN
from tests.support.scripted_line_provider import ScriptedLineProvider, event
from tests.support.serving import changed, serving

JSON = {"Content-Type": "application/json"}

OPENING = {
    "title": "Opening night",
    "description": "In the great hall",
    "starts_at": "2027-01-01T20:00:00+01:00",
    "deadline": "2027-01-03T19:00:00Z",
}


def with_tokens(settings: Settings, **changes: Any) -> Settings:
    tokens = {"admin_token": OPERATORS_TOKEN, "line_provider_token": ScriptedLineProvider.admin_token}
    return changed(settings, **tokens | changes)


@pytest.fixture
async def operators(settings: Settings, line_provider: ScriptedLineProvider) -> AsyncIterator[AsyncClient]:
    """A client with the operators' token; event 1 is open, 5 is cancelled."""
    line_provider.put(event(1), event(5, cancelled_at=datetime.now(UTC)))
    async with serving(with_tokens(settings)) as client:
        client.headers.update(AS_OPERATOR)
        yield client


def refusal(answer: Response) -> tuple[int, str, str]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    return answer.status_code, problem["type"].removeprefix("/problems/"), problem["detail"]


async def every_change(api: AsyncClient) -> list[Response]:
    return [
        await api.post("/ops/events", json=OPENING),
        await api.patch("/ops/events/1", json={"title": "Another"}),
        await api.post("/ops/events/1/cancel"),
        await api.post("/ops/imports", content=b"title,starts_at\n"),
    ]


async def test_an_event_is_added_changed_and_cancelled_and_everybody_sees_it(
    operators: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    created = await operators.post("/ops/events", json=OPENING)
    assert created.status_code == 201, created.text
    document = created.json()
    assert document | {"event_id": 0} == {
        **OPENING,
        "event_id": 0,
        "starts_at": "2027-01-01T19:00:00Z",
        "phase": "open",
        "status": "PROCESSING",
        "average": None,
        "score_count": 0,
        "histogram": [0] * 5,
        "cancelled_at": None,
        "finalized_at": None,
    }
    address = created.headers["Location"]
    assert address == f"/events/{document['event_id']}"
    del operators.headers["Authorization"]
    assert (await operators.get(address)).json()["title"] == "Opening night"

    changed = await operators.patch(f"/ops{address}", json={"deadline": "2027-01-04T19:00:00Z"}, headers=AS_OPERATOR)
    assert changed.status_code == 200, changed.text
    assert changed.json() == document | {"deadline": "2027-01-04T19:00:00Z"}

    cancelled = await operators.post(f"/ops{address}/cancel", headers=AS_OPERATOR)
    assert (cancelled.status_code, cancelled.json()["phase"]) == (200, "cancelled")
    assert line_provider.events[document["event_id"]].HasField("cancelled_at")


async def test_a_description_can_be_cleared_and_omitted_fields_stay_unchanged(operators: AsyncClient) -> None:
    address = f"/ops{(await operators.post('/ops/events', json=OPENING)).headers['Location']}"
    changed = (await operators.patch(address, json={"description": ""})).json()
    assert (changed["title"], changed["description"]) == ("Opening night", "")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"title": ""}, "body.title"),
        ({"title": "  "}, "body.title"),
        ({"title": "x" * 201}, "body.title"),
        ({"title": "\ud800"}, "body.title"),
        ({"description": "x" * 10_001}, "body.description"),
        ({"starts_at": "2027-01-01T19:00:00"}, "body.starts_at"),
        ({"starts_at": 1_800_000_000}, "body.starts_at"),
        ({"starts_at": "0001-01-01T00:00:00+14:00"}, "body.starts_at"),
        ({"deadline": "tomorrow"}, "body.deadline"),
        ({"deadline": None}, "body.deadline"),
        ({"event_id": 7}, "body.event_id"),
        # Only line_provider can detect this one.
        ({"deadline": "2020-01-01T00:00:00Z"}, "body.deadline"),
    ],
)
async def test_an_invalid_event_is_refused_with_the_name_of_the_invalid_field(
    operators: AsyncClient, line_provider: ScriptedLineProvider, changes: dict[str, Any], part: str
) -> None:
    before = dict(line_provider.events)
    for answer in (
        await operators.post("/ops/events", content=json.dumps(OPENING | changes), headers=JSON),
        await operators.patch("/ops/events/1", content=json.dumps(changes), headers=JSON),
    ):
        status, kind, detail = refusal(answer)
        assert (status, kind) == (422, "invalid-request"), detail
        assert [error["part"] for error in answer.json()["errors"]] == [part]
        assert detail.startswith(f"{part}: ")
    assert line_provider.events == before


async def test_an_empty_change_is_refused(operators: AsyncClient) -> None:
    answer = await operators.patch("/ops/events/1", json={})
    assert refusal(answer)[:2] == (422, "invalid-request")
    assert answer.json()["errors"][0]["part"] == "body"


async def test_each_refusal_of_line_provider_is_a_problem_of_its_own_type(operators: AsyncClient) -> None:
    assert refusal(await operators.patch("/ops/events/99", json={"title": "x"}))[:2] == (404, "event-not-found")
    assert refusal(await operators.post("/ops/events/99/cancel"))[:2] == (404, "event-not-found")
    assert refusal(await operators.patch("/ops/events/5", json={"title": "x"})) == (
        409,
        "event-unchangeable",
        "Event 5 is cancelled and cannot be changed any more.",
    )
    assert (await operators.post("/ops/events", json=OPENING | {"external_id": "2027/1"})).status_code == 201
    again = await operators.post("/ops/events", json=OPENING | {"external_id": "2027/1"})
    assert refusal(again)[:2] == (409, "external-id-taken")


async def test_an_unreachable_line_provider_is_a_503_that_says_when_to_retry(
    operators: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    await line_provider.stop()
    for answer in await every_change(operators):
        assert refusal(answer)[:2] == (503, "unavailable")
        assert "line_provider" in answer.json()["detail"]
        assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED])
async def test_an_unexpected_answer_of_line_provider_is_reported_as_its_failure(
    operators: AsyncClient, line_provider: ScriptedLineProvider, code: grpc.StatusCode
) -> None:
    line_provider.refusal = (code, "as the test demands")
    for answer in await every_change(operators):
        assert refusal(answer) == (
            502,
            "line-provider-failed",
            f"line_provider answered: {code.name}: as the test demands.",
        )


async def test_a_token_that_line_provider_refuses_is_a_failure_that_names_the_setting(
    settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(event(1))
    async with serving(with_tokens(settings, line_provider_token="not-the-one-of-line-provider")) as api:
        api.headers.update(AS_OPERATOR)
        for answer in await every_change(api):
            status, kind, detail = refusal(answer)
            assert (status, kind) == (502, "line-provider-failed")
            assert "UNAUTHENTICATED" in detail
            assert "not-the-one" not in answer.text
        assert "SCORE_MAKER_LINE_PROVIDER_TOKEN" in (await api.get("/problems/line-provider-failed")).text


async def test_without_line_providers_token_operators_see_the_saga_but_cannot_change_events(
    settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(event(1))
    async with serving(with_tokens(settings, line_provider_token=None)) as api:
        api.headers.update(AS_OPERATOR)
        assert (await api.get("/ops/saga")).json()["manages_events"] is False
        assert {answer.status_code for answer in await every_change(api)} == {404}


async def test_only_operators_can_change_events(operators: AsyncClient, line_provider: ScriptedLineProvider) -> None:
    before = dict(line_provider.events)
    operators.headers["Authorization"] = f"Bearer {ScriptedLineProvider.admin_token}"
    for answer in await every_change(operators):
        assert refusal(answer)[:2] == (401, "operator-token-required")
    assert line_provider.events == before
    assert line_provider.imported == []


async def test_importing_a_file_returns_a_report(operators: AsyncClient, line_provider: ScriptedLineProvider) -> None:
    assert (await operators.get("/ops/saga")).json()["manages_events"] is True
    content = "title,starts_at\n…".encode()
    answer = await operators.post(
        "/ops/imports",
        content=content,
        params={"format": "csv", "rate_for_hours": 1.5, "timezone": "Europe/London", "source_name": "2027"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "created": 1,
        "created_event_ids": [17],
        "existing": 1,
        "bad": 1,
        "bad_rows": [{"place": "line 4", "reason": "title: is missing"}],
    }
    (asked,) = line_provider.imported
    assert asked.content == content
    assert asked.format == events_pb2.IMPORT_FORMAT_CSV
    assert asked.rate_until.ToTimedelta() == timedelta(minutes=90)
    assert (asked.time_zone, asked.source_name) == ("Europe/London", "2027")


async def test_an_invalid_import_is_refused_with_the_name_of_the_invalid_part(
    operators: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    for details, part in (
        ("content: not UTF-8 text", "body"),
        ("time_zone: 'Atlantis' is no time zone", "query.timezone"),
        ("rate_until: must not be negative", "query.rate_for_hours"),
    ):
        line_provider.refusal = (grpc.StatusCode.INVALID_ARGUMENT, details)
        answer = await operators.post("/ops/imports", content=b"\xff")
        assert refusal(answer)[:2] == (422, "invalid-request")
        assert answer.json()["errors"] == [{"part": part, "message": details.partition(": ")[2]}]
    line_provider.refusal = None
    assert (await operators.post("/ops/imports")).json()["errors"][0]["part"] == "body"
    for parameters in ({"rate_for_hours": -1}, {"rate_for_hours": "nan"}, {"format": "ical"}):
        answer = await operators.post("/ops/imports", content=b"title,starts_at", params=parameters)
        assert (answer.status_code, answer.json()["errors"][0]["part"]) == (422, f"query.{next(iter(parameters))}")


async def test_a_file_to_import_may_be_larger_than_any_other_body(
    operators: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    largest = b"x" * LARGEST_FILE_BYTES
    assert (await operators.post("/ops/imports", content=largest)).status_code == 200
    assert len(line_provider.imported[0].content) == LARGEST_FILE_BYTES

    async def in_chunks() -> AsyncIterator[bytes]:
        yield largest
        yield b"x"

    for content in (largest + b"x", in_chunks()):
        answer = await operators.post("/ops/imports", content=content)
        assert refusal(answer)[:2] == (413, "content-too-large")
    assert len(line_provider.imported) == 1
    longer = b" " * (LARGEST_BODIES["/ops/events"] + 1)
    assert (await operators.post("/ops/events", content=longer)).status_code == 413


async def test_the_longest_description_is_accepted_in_its_longest_encoding(operators: AsyncClient) -> None:
    longest = OPENING | {"description": "\N{SOCCER BALL}" * 5_000 + "\N{TROPHY}" * 5_000}
    created = await operators.post("/ops/events", content=json.dumps(longest), headers=JSON)
    assert (created.status_code, created.json()["description"]) == (201, longest["description"])
