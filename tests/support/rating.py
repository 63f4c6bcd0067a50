"""Ratings over HTTP, as raters submit them."""

from collections.abc import Mapping
from typing import Any

from httpx import AsyncClient, Response

# More than `Prefer: wait` can ask the service to wait.
_TIMEOUT_SECONDS = 100


async def rate(
    rater: AsyncClient, value: int = 4, *, event_id: int = 1, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer to one rating, whichever it is."""
    address, rating = f"/events/{event_id}/score", {"score": value}
    return await rater.post(address, json=rating, headers=headers, timeout=_TIMEOUT_SECONDS)


async def rate_accepted(
    rater: AsyncClient, value: int = 4, *, event_id: int = 1, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The score as it was acknowledged with 202, before line_provider has decided."""
    answer = await rate(rater, value, event_id=event_id, headers=headers)
    assert answer.status_code == 202, answer.text
    score: dict[str, Any] = answer.json()
    return score


async def rate_by_new_raters(service: AsyncClient, raters: int, *, event_id: int = 1) -> None:
    """Rates the event once by each of so many anonymous raters. `service` tells where; its cookies and headers stay."""
    async with AsyncClient(base_url=service.base_url) as rater:
        for _ in range(raters):
            rater.cookies.clear()
            await rate_accepted(rater, event_id=event_id)


async def new_rater(service: AsyncClient) -> dict[str, str]:
    """The headers of a new anonymous rater, who is known by a token."""
    answer = await service.post("/raters")
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}
