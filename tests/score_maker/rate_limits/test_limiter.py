"""Rate limits of raters and addresses, over HTTP and on a real Redis."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from limits import RateLimitItemPerMinute
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from devstack.valkey import Valkey
from score_maker.rate_limits import limiter
from score_maker.rate_limits.limiter import RateLimits, network_of
from score_maker.settings import EXAMPLE, Settings
from scoreline_common.settings import load
from tests.support.rating import new_rater, rate
from tests.support.scripted_line_provider import ScriptedLineProvider, event
from tests.support.serving import changed, serving


async def test_a_rater_over_the_limit_gets_429_with_retry_after_and_others_are_unaffected(
    settings: Settings, line_provider: ScriptedLineProvider, engine: AsyncEngine
) -> None:
    line_provider.put(event(1))
    async with serving(changed(settings, rate_limit_rater="3/minute")) as api:
        eager, calm = await new_rater(api), await new_rater(api)
        assert [(await rate(api, score, headers=eager)).status_code for score in (1, 2, 3)] == [202, 202, 202]
        refused = await rate(api, 5, headers=eager)
        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/too-many-requests")
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert (await api.delete("/events/1/score", headers=eager)).status_code == 429
        assert (await api.get("/events/1/score", headers=eager)).json()["version"] == 3
        assert (await rate(api, headers=calm)).status_code == 202
        assert (await api.get("/events")).status_code == 200


async def test_all_raters_of_an_address_share_its_limit(
    settings: Settings, line_provider: ScriptedLineProvider, engine: AsyncEngine
) -> None:
    line_provider.put(event(1))
    async with serving(changed(settings, rate_limit_address="5/minute")) as api:
        answers = []
        for _ in range(7):
            api.cookies.clear()
            answers.append((await rate(api)).status_code)
        assert answers == [202] * 5 + [429] * 2
        assert (await api.post("/raters")).status_code == 429
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM scores")) == 5


async def test_an_invalid_rating_counts_toward_the_limit(
    settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(event(1))
    async with serving(changed(settings, rate_limit_address="1/minute")) as api:
        assert (await rate(api, 6)).status_code == 422
        assert (await rate(api, 5)).status_code == 429


async def test_limits_can_be_switched_off(
    settings: Settings, line_provider: ScriptedLineProvider, redis: Redis
) -> None:
    line_provider.put(event(1))
    async with serving(changed(settings, rate_limit_rater="off", rate_limit_address="off")) as api:
        assert (await rate(api)).status_code == 202
    assert await redis.keys("*rate*") == []


async def test_both_limits_take_one_call_of_redis_which_concurrent_writes_share(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    class CountingPipeline(Pipeline):
        async def execute(self, raise_on_error: bool = True) -> list[Any]:
            asked.append(len(self.command_stack))
            return await super().execute(raise_on_error)

    monkeypatch.setattr("redis.asyncio.client.Pipeline", CountingPipeline)
    async with RateLimits(redis, rater=RateLimitItemPerMinute(1), address=RateLimitItemPerMinute(100)) as limits:
        await limits.hit(address="192.0.2.1", rater=str(uuid4()))
        asked.clear()
        await asyncio.gather(*(limits.hit(address="192.0.2.1", rater=str(uuid4())) for _ in range(10)))
        assert asked == [1]


async def test_a_rater_far_from_the_limit_does_not_wait_for_redis_but_is_still_counted(
    redis: Redis, valkey: Valkey
) -> None:
    limit = RateLimitItemPerMinute(18)
    async with RateLimits(redis, rater=limit, address=None) as limits:
        assert [await limits.hit(address=None, rater="eager") for _ in range(3)] == [None] * 3
        await redis.client_pause(100_000, all=False)
        async with asyncio.timeout(10):
            assert [await limits.hit(address=None, rater="eager") for _ in range(6)] == [None] * 6
        async with Redis.from_url(valkey.url) as another:
            await another.client_unpause()
    # Another process has not synced the count yet, and does so with its first write.
    async with RateLimits(redis, rater=limit, address=None) as limits:
        answers = [await limits.hit(address=None, rater="eager")]
        await limits.until_synced()
        answers += [await limits.hit(address=None, rater="eager") for _ in range(30)]
    assert sum(answer is None for answer in answers) == 9


async def test_counts_are_synced_with_redis_sparingly_and_the_limit_is_still_exact(redis: Redis) -> None:
    limit = RateLimitItemPerMinute(100)
    async with RateLimits(redis, rater=limit, address=None) as limits:
        assert [await limits.hit(address=None, rater="calm") for _ in range(5)] == [None] * 5
        await limits.until_synced()
        assert await redis.keys("*rate*") == []
        assert await limits.hit(address=None, rater="calm") is None
        await limits.until_synced()
        (counted,) = [await redis.get(key) for key in await redis.keys("*rate*")]
        assert counted == b"6"
        answers = [await limits.hit(address=None, rater="calm") for _ in range(110)]
        assert [answer is None for answer in answers] == [True] * 94 + [False] * 16


async def test_several_processes_exceed_a_limit_by_at_most_their_unsynced_counts(redis: Redis) -> None:
    limit = RateLimitItemPerMinute(100)
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(RateLimits(redis, rater=limit, address=None)) for _ in range(4)]
        admitted = 0
        for _ in range(50):
            for limits in processes:
                admitted += await limits.hit(address=None, rater="eager") is None
                await limits.until_synced()
    assert 100 <= admitted <= 100 + 3 * 5


async def test_each_limit_is_exact_however_many_are_checked_at_once(redis: Redis) -> None:
    raters = [str(uuid4()) for _ in range(250)]
    async with RateLimits(redis, rater=RateLimitItemPerMinute(2), address=RateLimitItemPerMinute(400)) as limits:
        answers = await asyncio.gather(*(limits.hit(address="192.0.2.1", rater=rater) for rater in raters * 2))
        assert sum(answer is None for answer in answers) == 400
        assert {answer.subject for answer in answers if answer is not None} == {"address"}
        answers = await asyncio.gather(*(limits.hit(address="192.0.2.2", rater=raters[0]) for _ in range(3)))
        assert [answer and answer.subject for answer in answers] == ["rater"] * 3


async def test_ratings_are_accepted_while_redis_is_unreachable_and_limited_again_once_it_is_back(
    settings: Settings, line_provider: ScriptedLineProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter, "PAUSE_SECONDS", 0.0)
    line_provider.put(event(1))
    async with Valkey(tmp_path / "valkey") as valkey:
        limited = changed(settings, rate_limit_rater="1/minute", redis_url=valkey.url)
        async with serving(limited) as api:
            rater = await new_rater(api)
            assert [(await rate(api, headers=rater)).status_code for _ in range(2)] == [202, 429]
            await valkey.stop()
            with capture_logs() as logs:
                assert [(await rate(api, headers=rater)).status_code for _ in range(5)] == [202] * 5
            assert [log["event"] for log in logs].count("rate_limits_suspended") == 1
            await valkey.start()
            with capture_logs() as logs:
                assert [(await rate(api, headers=rater)).status_code for _ in range(2)] == [202, 429]
            assert [log["event"] for log in logs].count("rate_limits_resumed") == 1


async def test_a_hanging_redis_is_called_once_and_then_not_until_a_pause_is_over(
    redis: Redis, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter, "PAUSE_SECONDS", 3600.0)
    async with Redis.from_url(valkey.url, socket_timeout=0.05, socket_connect_timeout=0.05) as impatient:
        limits = RateLimits(impatient, rater=None, address=RateLimitItemPerMinute(1))
        await redis.client_pause(300)
        with capture_logs() as logs:
            for _ in range(3):
                assert await limits.hit(address="192.0.2.1", rater=None) is None
        assert [log["event"] for log in logs] == ["rate_limits_suspended"]
    await redis.client_unpause()
    # The first call may have arrived late; the others were never sent.
    assert [int(await redis.get(key) or 0) for key in await redis.keys("*rate*")] in ([], [1])


async def test_scripts_that_a_restarted_redis_has_lost_are_loaded_again(redis: Redis) -> None:
    async with RateLimits(redis, rater=None, address=RateLimitItemPerMinute(2)) as limits:
        assert await limits.hit(address="192.0.2.1", rater=None) is None
        await redis.script_flush()
        assert await limits.hit(address="192.0.2.1", rater=None) is None
        assert await limits.hit(address="192.0.2.1", rater=None) is not None


async def test_forwarded_addresses_are_believed_only_from_trusted_proxies(
    settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(event(1))

    async def statuses_of_two_forwarded_addresses(**changes: Any) -> list[int]:
        async with serving(changed(settings, rate_limit_address="1/minute", **changes)) as api:
            return [
                (await rate(api, headers={"X-Forwarded-For": address})).status_code
                for address in ("198.51.100.1", "198.51.100.2")
            ]

    assert await statuses_of_two_forwarded_addresses() == [202, 429]
    assert await statuses_of_two_forwarded_addresses(trusted_proxies="127.0.0.0/8") == [202, 202]
    # An address that the client puts in front of the proxy's own is ignored: 198.51.100.1 has written already.
    async with serving(changed(settings, rate_limit_address="1/minute", trusted_proxies="127.0.0.1")) as api:
        assert (await rate(api, headers={"X-Forwarded-For": "203.0.113.9, 198.51.100.1"})).status_code == 429


async def test_the_cookie_is_secure_if_a_trusted_proxy_reports_https(
    settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(event(1))
    async with serving(changed(settings, trusted_proxies="127.0.0.1")) as api:
        answer = await rate(api, headers={"X-Forwarded-Proto": "https"})
        assert "Secure" in answer.headers["Set-Cookie"]
        assert "Strict-Transport-Security" in answer.headers
    async with serving(settings) as api:
        answer = await rate(api, headers={"X-Forwarded-Proto": "https"})
        assert "Secure" not in answer.headers["Set-Cookie"]
        assert "Strict-Transport-Security" not in answer.headers


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1:aaaa::1", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:bbbb::2", "2001:db8:0:1::/64"),
        ("unknown", "unknown"),
    ],
)
def test_all_addresses_of_an_ipv6_network_count_as_one(address: str, host: str) -> None:
    assert network_of(address) == host


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SCORE_MAKER_RATE_LIMIT_RATER", "often"),
        ("SCORE_MAKER_RATE_LIMIT_ADDRESS", "0/minute"),
        ("SCORE_MAKER_RATE_LIMIT_ADDRESS", "1/second;5/minute"),
        ("SCORE_MAKER_TRUSTED_PROXIES", "*"),
        ("SCORE_MAKER_TRUSTED_PROXIES", "10.0.0.1,proxy"),
        ("SCORE_MAKER_CORS_ORIGINS", "*"),
        ("SCORE_MAKER_CORS_ORIGINS", "https://example.org/"),
    ],
)
def test_an_invalid_setting_exits_with_one_line_that_names_it(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as exit_:
        load(Settings, example=EXAMPLE)
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{variable}: must ")
