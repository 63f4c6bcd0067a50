"""The composition of a serving process: everything that it needs, opened in order and supervised in one task group."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import grpc
import httpx
from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.events.broadcast import EventBroadcast
from score_maker.events.cache import EventCache
from score_maker.events.catalog import EventCatalog
from score_maker.events.feed import EventFeed
from score_maker.events.management import EventManagement
from score_maker.events.ranking import Prior
from score_maker.identity.accounts import Accounts
from score_maker.identity.anonymous import RaterTokens
from score_maker.identity.issuer_tokens import IssuerKeys, IssuerTokens
from score_maker.rate_limits.limiter import TIMEOUT_SECONDS as RATE_LIMITS_TIMEOUT_SECONDS
from score_maker.rate_limits.limiter import RateLimits
from score_maker.ratings.group_commit import GroupCommit
from score_maker.ratings.submissions import Submissions
from score_maker.ratings.waiters import SettlementWaiters
from score_maker.saga.monitor import SagaMonitor
from score_maker.saga.throughput import ThroughputRecorder, accepted_total
from score_maker.settings import Settings
from score_maker.storage.redis import RedisClient, open_redis
from scoreline_common.background import BackgroundTasks
from scoreline_common.database import create_engine
from scoreline_common.line_provider_channel import open_channel

# Requests are served from the start with the events known then; a short wait spares them the very first moment.
SNAPSHOT_WAIT_SECONDS = 2
REDIS_TIMEOUT_SECONDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What requests are served with."""

    background: BackgroundTasks
    engine: AsyncEngine
    redis: RedisClient
    line_provider: grpc.aio.Channel
    catalog: EventCatalog
    feed: EventFeed
    broadcast: EventBroadcast
    event_management: EventManagement | None
    tokens: RaterTokens | IssuerTokens
    accounts: Accounts
    rate_limits: RateLimits
    submissions: Submissions
    waiters: SettlementWaiters
    saga: SagaMonitor
    operators_tokens: frozenset[str]

    def end_waits(self) -> None:
        """Ends event streams and has waiting requests answered, because the process stops."""
        self.broadcast.close()
        self.waiters.close()


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Opens everything. Leaving commits the submissions that wait, ends the background tasks and closes connections.

    `Services.background.failed` is set when a background task ends by itself; the server then ends the process.
    """
    async with AsyncExitStack() as stack:
        database_url = settings.database_url.get_secret_value()
        engine = create_engine(database_url, pool_size=settings.database_pool_size)
        stack.push_async_callback(engine.dispose)
        redis_url = settings.redis_url.get_secret_value()
        redis = open_redis(redis_url, timeout_seconds=REDIS_TIMEOUT_SECONDS)
        stack.push_async_callback(redis.aclose)
        counting_redis = open_redis(redis_url, timeout_seconds=RATE_LIMITS_TIMEOUT_SECONDS)
        stack.push_async_callback(counting_redis.aclose)
        line_provider = await stack.enter_async_context(
            open_channel(settings.line_provider_address, settings.line_provider_credentials())
        )
        issuer_keys = await _open_issuer_keys(settings, stack)
        background = await stack.enter_async_context(BackgroundTasks())

        rate_limits = await stack.enter_async_context(
            RateLimits(counting_redis, rater=settings.rate_limit_rater, address=settings.rate_limit_address)
        )

        catalog = EventCatalog(Prior(settings.top_prior_mean, settings.top_prior_weight))
        broadcast = EventBroadcast(catalog)
        feed = EventFeed(line_provider, EventCache(redis), catalog)
        await feed.load_from_cache()
        background.start("event-feed", feed.run())
        background.start("event-broadcast", broadcast.run())
        await feed.wait_for_snapshot(SNAPSHOT_WAIT_SECONDS)

        group_commit = GroupCommit(engine, max_waiting=settings.max_waiting)
        throughput = ThroughputRecorder(engine, lambda: accepted_total(group_commit.accepted))
        background.start("throughput", throughput.run())
        background.start("group-commit", group_commit.run())
        stack.push_async_callback(_drain, group_commit, background, throughput)
        waiters = SettlementWaiters(engine, database_url, max_waiting=settings.max_waiting)
        background.start("settlement-waiters", waiters.run())

        if issuer_keys is not None:
            background.start("issuer-keys", issuer_keys.run())
        accounts = Accounts(engine)
        admin_token = settings.line_provider_token
        yield Services(
            background=background,
            engine=engine,
            redis=redis,
            line_provider=line_provider,
            catalog=catalog,
            feed=feed,
            broadcast=broadcast,
            event_management=EventManagement(line_provider, admin_token.get_secret_value()) if admin_token else None,
            tokens=_tokens(settings, issuer_keys),
            accounts=accounts,
            rate_limits=rate_limits,
            submissions=Submissions(feed, accounts, group_commit),
            waiters=waiters,
            saga=SagaMonitor(engine),
            operators_tokens=frozenset(token.get_secret_value() for token in settings.admin_token or ()),
        )


async def _drain(group_commit: GroupCommit, background: BackgroundTasks, throughput: ThroughputRecorder) -> None:
    """Commits the submissions that wait, then records the last of them in the throughput."""
    group_commit.close()
    await background.finish("group-commit")
    await throughput.record_if_possible()


async def _open_issuer_keys(settings: Settings, stack: AsyncExitStack) -> IssuerKeys | None:
    if settings.jwt_jwks_url is None or settings.identity != "jwt":
        return None
    return IssuerKeys(await stack.enter_async_context(httpx.AsyncClient()), settings.jwt_jwks_url)


def _tokens(settings: Settings, issuer_keys: IssuerKeys | None) -> RaterTokens | IssuerTokens:
    if issuer_keys is None or settings.jwt_issuer is None or settings.jwt_audience is None:
        return RaterTokens(settings.secret_key.get_secret_value())
    return IssuerTokens(
        issuer_keys,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        algorithms=settings.jwt_algorithms,
        leeway=settings.jwt_leeway,
        secret_key=settings.secret_key.get_secret_value(),
    )
