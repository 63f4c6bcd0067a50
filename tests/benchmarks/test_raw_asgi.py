"""The constant answer that score_maker's HTTP is compared with."""

from httpx import ASGITransport, AsyncClient

from benchmarks.raw_asgi import app


async def test_it_answers_each_request_of_the_benchmark_as_wrk_expects_it() -> None:
    async with AsyncClient(transport=ASGITransport(app), base_url="http://server") as client:
        listed = await client.get("/events?limit=50")
        rated = await client.post("/events/1/score", json={"score": 5})
    assert (listed.status_code, rated.status_code) == (200, 202)
    assert listed.json() == rated.json() == {}


async def test_it_reads_a_body_that_comes_in_parts() -> None:
    parts: list[dict[str, object]] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.request", "body": b"}"},
    ]
    sent = []

    async def receive() -> dict[str, object]:
        return parts.pop(0)

    async def send(message: object) -> None:
        sent.append(message)

    await app({"type": "http", "method": "POST"}, receive, send)
    assert parts == []
    assert len(sent) == 2
