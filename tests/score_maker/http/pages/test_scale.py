"""The pages and the API have the same scale."""

import json
import re
from pathlib import Path

from httpx import AsyncClient

from score_maker.http.pages import routes

_FILES = Path(routes.__file__).with_name("static")


async def test_the_pages_use_the_same_scale_as_the_api(api: AsyncClient) -> None:
    match = re.search(
        r"^export const SCALE = (\[.+\]);$", (_FILES / "scale.js").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert match
    document = (await api.get("/openapi.json")).json()
    body = document["paths"]["/events/{event_id}/score"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    submission = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]
    score = submission["properties"]["score"]
    assert json.loads(match[1]) == list(range(int(score["minimum"]), int(score["maximum"]) + 1))
