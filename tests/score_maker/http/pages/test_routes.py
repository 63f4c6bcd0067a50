"""The pages over HTTP: caching, the content security policy, and the cookie that precedes the first rating."""

import re

from httpx import AsyncClient

from score_maker.settings import Settings
from tests.support.operators import OPERATORS_TOKEN
from tests.support.rating import rate_accepted
from tests.support.scripted_line_provider import ScriptedLineProvider
from tests.support.serving import changed, serving


async def test_the_page_runs_only_its_own_files(api: AsyncClient) -> None:
    page = await api.get("/")
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|https?:|//", page.text)
    assert (await api.head("/")).status_code == 200


async def test_browsers_cache_the_pages_files_until_they_change(api: AsyncClient) -> None:
    page = await api.get("/")
    assert page.headers["Cache-Control"] == "no-cache"
    addresses = re.findall(r'"(/static/[^"]+)"', page.text)
    assert len(addresses) > 10
    for address in addresses:
        file = await api.get(address)
        assert file.status_code == 200, address
        assert "immutable" in file.headers["Cache-Control"]
        assert file.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_operators_page_exists_only_if_their_token_is_set(
    api: AsyncClient, settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    assert (await api.get("/ops")).status_code == 404
    async with serving(changed(settings, admin_token=OPERATORS_TOKEN)) as operators:
        page = await operators.get("/ops")
        assert page.status_code == 200
        assert page.headers["Content-Security-Policy"] == (await operators.get("/")).headers["Content-Security-Policy"]
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|https?:|//", page.text)
        addresses = re.findall(r'"(/static/[^"]+)"', page.text)
        assert len([address for address in addresses if "/ops/" in address]) > 10
        for address in addresses:
            assert (await operators.get(address)).status_code == 200, address


async def test_the_page_loads_its_own_modules_and_none_of_the_operators_page(api: AsyncClient) -> None:
    page = await api.get("/")
    modules = set(re.findall(r'modulepreload" href="/static/\w+/([^"]+)"', page.text))
    assert {"main.js", "stars.js", "messages/ru.js", "vendor/lit-html/directives/repeat.js"} <= modules
    assert not [module for module in modules if module.startswith("ops/")]


async def test_a_page_from_before_an_update_still_finds_its_files(api: AsyncClient) -> None:
    file = await api.get("/static/of-another-version/main.js")
    assert file.status_code == 200
    assert file.headers["Cache-Control"] == "no-cache"
    unchanged = await api.get("/static/of-another-version/main.js", headers={"If-None-Match": file.headers["ETag"]})
    assert unchanged.status_code == 304


async def test_a_missing_file_is_a_problem(api: AsyncClient) -> None:
    for address in ("/static/1/no-such-file.js", "/static/1/..%2F..%2Fapp.py", "/static/1/"):
        response = await api.get(address)
        assert (response.status_code, response.json()["type"]) == (404, "/problems/not-found")


async def test_a_browser_can_get_its_cookie_before_its_first_rating_and_keeps_it(api: AsyncClient) -> None:
    given = await api.put("/raters/cookie")
    assert (given.status_code, given.content) == (204, b"")
    cookie = api.cookies["scoreline_rater"]
    assert "httponly" in given.headers["Set-Cookie"].lower()
    await api.put("/raters/cookie")
    assert api.cookies["scoreline_rater"] == cookie
    await rate_accepted(api)
    assert api.cookies["scoreline_rater"] == cookie
    assert len((await api.get("/scores")).json()["scores"]) == 1
