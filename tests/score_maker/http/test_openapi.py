"""The OpenAPI document matches the service, as checked by generated requests and by a generated client."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient

from score_maker.http.problems.types import MEDIA_TYPE, PROBLEM_TYPES
from score_maker.settings import Settings
from tests.support.operators import OPERATORS_TOKEN
from tests.support.scripted_issuer import ScriptedIssuer, ec
from tests.support.scripted_line_provider import ScriptedLineProvider, event
from tests.support.serving import changed, serving

TOOLS = Path(sys.executable).parent
# A long run by hand sets SCHEMATHESIS_EXAMPLES=500.
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "5")
OPERATIONS = {
    "get": "list_events stream_events get_event get_score list_scores healthz readyz get_saga list_outbox",
    "post": "submit_score create_rater retry_messages create_event cancel_event import_events",
    "put": "keep_rater",
    "patch": "update_event",
    "delete": "withdraw_score forget_me",
}


async def run(tool: str, *arguments: str | Path, folder: Path) -> str:
    """Runs a tool of the environment and returns its output. Fails if the tool fails."""
    process = await asyncio.create_subprocess_exec(
        TOOLS / tool,
        *arguments,
        cwd=folder,
        env=os.environ | {"PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.fixture
async def unlimited(settings: Settings, line_provider: ScriptedLineProvider) -> AsyncIterator[AsyncClient]:
    """A service with every feature on, but no rate limits, since generated requests would exceed them."""
    line_provider.put(*(event(event_id) for event_id in (1, 2, 3)))
    without_limits = {"rate_limit_rater": "off", "rate_limit_address": "off"}
    tokens = {"admin_token": OPERATORS_TOKEN, "line_provider_token": line_provider.admin_token}
    async with serving(changed(settings, **without_limits, **tokens)) as client:
        yield client


async def document_of(api: AsyncClient) -> Any:
    return (await api.get("/openapi.json")).json()


@pytest.mark.timeout(1200)
async def test_every_response_to_generated_requests_is_described_in_the_document(
    unlimited: AsyncClient, tmp_path: Path
) -> None:
    token = (await unlimited.post("/raters")).json()["token"]
    for whose, bearer, tested in (("--exclude-tag", token, 11), ("--include-tag", OPERATORS_TOKEN, 7)):
        said = await run(
            "schemathesis",
            *("--config-file", Path(__file__).with_name("schemathesis.toml")),
            *("run", f"{unlimited.base_url}/openapi.json", whose, "operations"),
            *("--header", f"Authorization: Bearer {bearer}"),
            *("--max-examples", EXAMPLES, "--generation-database", "none"),
            folder=tmp_path,
        )
        assert f"Tested: {tested}" in said


async def test_a_client_generated_from_the_document_lists_events_and_rates(
    api: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(await document_of(api)))
    await run(
        "openapi-python-client",
        *("generate", "--path", "openapi.json", "--output-path", "generated_client", "--meta", "none"),
        "--fail-on-warning",
        folder=tmp_path,
    )
    monkeypatch.syspath_prepend(tmp_path)
    made: Any = import_module("generated_client")
    events, scores, raters = (
        import_module(f"generated_client.api.{tag}.{name}")
        for tag, name in (("events", "list_events"), ("scores", "submit_score"), ("raters", "create_rater"))
    )
    models: Any = import_module("generated_client.models")

    async with made.Client(base_url=str(api.base_url)) as nobody:
        token = (await raters.asyncio(client=nobody)).token
    async with made.AuthenticatedClient(base_url=str(api.base_url), token=token) as client:
        listed = await events.asyncio(client=client, phase=models.Phase.OPEN)
        assert [each.event_id for each in listed.events] == [1, 2, 3]
        event_id = listed.events[0].event_id
        submission = models.ScoreSubmission(score=4)
        score = await scores.asyncio(event_id, client=client, body=submission)
        assert (score.event_id, score.score, score.state) == (event_id, 4, models.State.PENDING)
        refused = await scores.asyncio(5, client=client, body=submission)
        assert (refused.status, refused.type_) == (410, "/problems/event-cancelled")


async def test_every_operation_is_described_with_all_its_responses(unlimited: AsyncClient) -> None:
    document = await document_of(unlimited)
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    found: dict[str, set[str]] = {}
    for operations in document["paths"].values():
        for method, operation in operations.items():
            found.setdefault(method, set()).add(operation["operationId"])
            assert operation["description"]
            assert set(operation["tags"]) <= tags.keys()
            assert "500" in operation["responses"]
            for status, response in operation["responses"].items():
                assert response["description"]
                if int(status) >= 400 and operation["operationId"] != "readyz":
                    assert list(response["content"]) == [MEDIA_TYPE]
                    assert response["content"][MEDIA_TYPE]["examples"]
    assert {method: set(names.split()) for method, names in OPERATIONS.items()} == found


async def test_every_problem_type_is_in_the_document_and_explained_at_its_address(api: AsyncClient) -> None:
    document = await document_of(api)
    described = document["components"]["schemas"]["ProblemDocument"]["properties"]["type"]["description"]
    for problem_type in PROBLEM_TYPES.values():
        assert f"`{problem_type.uri}`" in described
        explanation = await api.get(problem_type.uri)
        assert explanation.status_code == 200
        assert problem_type.title in explanation.text
        assert problem_type.explanation[:40] in explanation.text.replace("\n", " ")


async def test_the_document_says_what_only_operators_may_do(unlimited: AsyncClient) -> None:
    document = await document_of(unlimited)
    assert document["components"]["securitySchemes"].keys() == {"bearer", "cookie", "operator"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            is_operators = operation.get("security") == [{"operator": []}]
            assert is_operators is path.startswith("/ops/") is ("operations" in operation["tags"]), path


async def test_the_document_says_how_raters_authenticate(
    api: AsyncClient, settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    anonymous = await document_of(api)
    assert anonymous["components"]["securitySchemes"].keys() == {"bearer", "cookie"}
    post = anonymous["paths"]["/events/{event_id}/score"]["post"]
    assert {} in post["security"]
    async with (
        ScriptedIssuer(ec("one")) as issuer,
        serving(changed(settings, **issuer.settings())) as client,
    ):
        document = await document_of(client)
    assert document["components"]["securitySchemes"]["bearer"]["bearerFormat"] == "JWT"
    assert document["paths"]["/events/{event_id}/score"]["post"]["security"] == [{"bearer": []}]
    assert {} in document["paths"]["/events/{event_id}"]["get"]["security"]
    assert "raters" not in {tag["name"] for tag in document["tags"]}
