"""Guards of every request and response: size limits, security headers, CORS, and the documentation."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from score_maker.http.middleware.guards import MAX_BODY_BYTES, SECURITY_HEADERS
from score_maker.settings import Settings
from tests.support.scripted_line_provider import ScriptedLineProvider, event
from tests.support.serving import changed, serving

JSON = {"Content-Type": "application/json"}


async def ratings(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int(await connection.scalar(text("SELECT count(*) FROM scores")) or 0)


async def test_a_body_that_is_too_large_is_refused_with_or_without_a_content_length(
    api: AsyncClient, engine: AsyncEngine
) -> None:
    async def in_chunks() -> AsyncIterator[bytes]:
        yield b'{"score": '
        for _ in range(MAX_BODY_BYTES // 1024):
            yield b" " * 1024
        yield b"5}"

    large = b'{"score": ' + b" " * MAX_BODY_BYTES + b"5}"
    for body in (large, large * 100, in_chunks()):
        response = await api.post("/events/1/score", content=body, headers=JSON)
        assert (response.status_code, response.json()["type"]) == (413, "/problems/content-too-large")
        assert response.headers["Content-Type"] == "application/problem+json"
    for path in ("/events", "/nowhere"):
        assert (await api.request("GET", path, content=large)).status_code == 413
    assert await ratings(engine) == 0


async def test_a_body_of_the_maximum_size_is_accepted(api: AsyncClient) -> None:
    body = b'{"score": 5'.ljust(MAX_BODY_BYTES - 1) + b"}"
    assert (await api.post("/events/1/score", content=body, headers=JSON)).status_code == 202


async def answer_to(api: AsyncClient, *chunks: bytes) -> tuple[int, dict[str, Any]]:
    """Sends raw bytes, and returns the status and the problem of the answer, after which the server has to hang up."""
    reader, writer = await asyncio.open_connection(api.base_url.host, api.base_url.port)
    try:
        with suppress(ConnectionError):
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
        async with asyncio.timeout(20):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert "content-type: application/problem+json" in head.lower()
            assert "x-content-type-options: nosniff" in head.lower()
            return int(head.split()[1]), json.loads(await reader.read())
    finally:
        writer.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /raters HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /raters HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_malformed_http_is_answered_with_a_problem(api: AsyncClient, request_: bytes) -> None:
    status, problem = await answer_to(api, request_)
    assert (status, problem["status"], problem["type"]) == (400, 400, "/problems/malformed-http")


async def test_endless_headers_are_answered_with_a_problem_whether_many_or_one(api: AsyncClient) -> None:
    start = b"GET /events HTTP/1.1\r\nHost: x\r\n"
    for chunks in (
        [start, *(b"X-%d: " % n + b"a" * 1000 + b"\r\n" for n in range(100))],
        [start + b"X-Long: " + b"a" * 100_000 + b"\r\n\r\n"],
        [start + b"X-Long: ", *([b"a" * 1000] * 100)],
        [b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"],
    ):
        status, problem = await answer_to(api, *chunks)
        assert (status, problem["type"]) == (431, "/problems/headers-too-long")


async def test_long_headers_are_accepted_in_each_request_of_a_connection(api: AsyncClient) -> None:
    for _ in range(5):
        assert (await api.get("/events", headers={"X-Long": "a" * 60_000})).status_code == 200


@pytest.mark.parametrize("path", ["/events", "/nowhere", "/docs", "/docs/files/swagger-ui.css", "/healthz", "/scores"])
async def test_every_answer_carries_the_security_headers(api: AsyncClient, path: str) -> None:
    response = await api.get(path)
    assert response.headers.items() >= {name.lower(): value for name, value in SECURITY_HEADERS.items()}.items()
    for name in SECURITY_HEADERS:
        assert len(response.headers.get_list(name)) == 1


async def test_an_unexpected_failure_is_a_problem_with_the_security_headers(
    settings: Settings, line_provider: ScriptedLineProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("something nobody thought of")

    line_provider.put(event(1))
    async with serving(settings) as api:
        monkeypatch.setattr("score_maker.ratings.queries.list_of_rater", fail)
        token = (await api.post("/raters")).json()["token"]
        with capture_logs() as logs:
            response = await api.get("/scores", headers={"Authorization": f"Bearer {token}"})
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["request_failed"]
    assert (response.status_code, response.json()["type"]) == (500, "/problems/internal-error")
    assert "nobody thought of" not in response.text
    assert response.headers["Content-Security-Policy"] == SECURITY_HEADERS["Content-Security-Policy"]


async def test_a_form_on_another_site_cannot_rate_for_its_visitor(api: AsyncClient, engine: AsyncEngine) -> None:
    """Browsers send a form as one of three media types without a preflight, and the cookie is SameSite=Lax."""
    first = await api.post("/events/1/score", json={"score": 5})
    assert "SameSite=lax" in first.headers["Set-Cookie"]
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        forged = await api.post(
            "/events/1/score",
            content=b'{"score": 1}',
            headers={"Content-Type": content_type, "Origin": "https://elsewhere.example"},
        )
        assert (forged.status_code, forged.json()["type"]) == (415, "/problems/not-json")
    assert (await api.get("/events/1/score")).json()["score"] == 5
    assert await ratings(engine) == 1


def preflight(origin: str, method: str = "POST", headers: str = "content-type") -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}


async def test_no_other_site_may_use_the_api_by_default(api: AsyncClient) -> None:
    asked = await api.options("/events/1/score", headers=preflight("https://elsewhere.example"))
    assert asked.status_code == 405
    read = await api.get("/events", headers={"Origin": "https://elsewhere.example"})
    assert not [name for answer in (asked, read) for name in answer.headers if name.startswith("access-control")]


async def test_only_an_allowed_site_may_use_the_api_with_credentials(
    settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(event(1))
    named = changed(settings, cors_origins="https://www.example.org, https://a.example:8443")
    async with serving(named) as api:
        for origin in named.cors_origins:
            asked = await api.options("/events/1/score", headers=preflight(origin, headers="authorization,prefer"))
            assert asked.status_code == 200
            for answer in (asked, await api.get("/events", headers={"Origin": origin})):
                assert answer.headers["Access-Control-Allow-Origin"] == origin
                assert answer.headers["Access-Control-Allow-Credentials"] == "true"
                assert "Origin" in answer.headers["Vary"]
        for origin in ("https://www.example.org.evil.example", "http://www.example.org", "null"):
            for answer in (
                await api.options("/events/1/score", headers=preflight(origin)),
                await api.get("/events", headers={"Origin": origin}),
            ):
                assert "Access-Control-Allow-Origin" not in answer.headers
        too_large = await api.post(
            "/events/1/score", content=b" " * 20_000, headers=JSON | {"Origin": "https://a.example:8443"}
        )
        assert too_large.headers["Access-Control-Allow-Origin"] == "https://a.example:8443"


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_even_an_allowed_site_may_not_send_put_or_patch(
    settings: Settings, line_provider: ScriptedLineProvider, method: str
) -> None:
    """PUT is only for the cookie of this service's own page, and PATCH only for operators."""
    line_provider.put(event(1))
    async with serving(changed(settings, cors_origins="https://www.example.org")) as api:
        for path in ("/raters/cookie", "/ops/events/1", "/events/1/score"):
            refused = await api.options(path, headers=preflight("https://www.example.org", method))
            assert refused.status_code == 400
            allowed = refused.headers["Access-Control-Allow-Methods"].replace(",", " ").split()
            assert method not in allowed
            assert {"GET", "POST", "DELETE"} == set(allowed)


class Links(HTMLParser):
    """Collects the addresses that a page loads, and its inline script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.inline: list[str] = []
        self._in_script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value for name, value in attrs if name in {"src", "href"} and value is not None]
        self.inline += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        self._in_script = tag in {"script", "style"}

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.inline.append(data)


async def test_the_documentation_loads_nothing_from_other_hosts(api: AsyncClient) -> None:
    page = await api.get("/docs")
    links = Links(page.text)
    assert links.inline == []
    assert len(links.loaded) >= 3
    for link in links.loaded:
        if not link.startswith("data:"):
            assert "//" not in link
            assert (await api.get(urljoin("/docs", link))).status_code == 200, link
