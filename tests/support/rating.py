"""Submits ratings over HTTP, as raters do."""

from collections.abc import Mapping
from typing import Any

from httpx import AsyncClient, Response

# Longer than the longest wait that `Prefer: wait` can request.
_TIMEOUT_SECONDS = 100


async def rate(
    rater: AsyncClient, value: int = 4, *, event_id: int = 1, headers: Mapping[str, str] | None = None
) -> Response:
    """Submits one rating, and returns the response whatever its status."""
    address, rating = f"/events/{event_id}/score", {"score": value}
    return await rater.post(address, json=rating, headers=headers, timeout=_TIMEOUT_SECONDS)


async def rate_accepted(
    rater: AsyncClient, value: int = 4, *, event_id: int = 1, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Submits one rating, and returns the score from its 202 response, before line_provider's verdict."""
    answer = await rate(rater, value, event_id=event_id, headers=headers)
    assert answer.status_code == 202, answer.text
    score: dict[str, Any] = answer.json()
    return score


async def rate_by_new_raters(service: AsyncClient, raters: int, *, event_id: int = 1) -> None:
    """Submits one rating by each of this many new anonymous raters. Only the base URL of `service` is used."""
    async with AsyncClient(base_url=service.base_url) as rater:
        for _ in range(raters):
            rater.cookies.clear()
            await rate_accepted(rater, event_id=event_id)


async def new_rater(service: AsyncClient) -> dict[str, str]:
    """Creates an anonymous rater, and returns the headers with its token."""
    answer = await service.post("/raters")
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}
