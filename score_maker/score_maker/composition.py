"""What serves the requests of one process, made when it starts and handed to the endpoints."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import grpc
import httpx
from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.events.broadcast import EventChanges
from score_maker.events.cache import EventCache
from score_maker.events.catalog import EventCatalog
from score_maker.events.feed import EventFeed
from score_maker.events.management import EventManagement
from score_maker.events.ranking import Prior
from score_maker.http.events.documents import EventDocuments
from score_maker.http.events.listings import EventListings
from score_maker.http.events.stream import EventStream
from score_maker.identity.accounts import IssuedRaters
from score_maker.identity.anonymous import RaterTokens
from score_maker.identity.issuer_tokens import IssuedTokens, IssuerKeys
from score_maker.rate_limits.limiter import TIMEOUT_SECONDS, RateLimits
from score_maker.ratings.group_commit import GroupCommit
from score_maker.ratings.waiters import SettlementWatch
from score_maker.saga.monitor import SagaMonitor
from score_maker.saga.throughput import ACCEPTED, ThroughputRecorder
from score_maker.settings import Settings
from score_maker.storage.redis import RedisClient, open_redis
from scoreline_common.database import create_engine
from scoreline_common.line_provider_channel import open_channel

# Requests are served from the first moment with what is known then; this only spares them the very first moment.
SNAPSHOT_WAIT_SECONDS = 2
REDIS_TIMEOUT_SECONDS = 2


@dataclass(frozen=True, slots=True)
class AppState:
    engine: AsyncEngine
    redis: RedisClient
    catalog: EventCatalog
    feed: EventFeed
    changes: EventChanges
    documents: EventDocuments
    listings: EventListings
    stream: EventStream
    group_commit: GroupCommit
    settlements: SettlementWatch
    tokens: RaterTokens | IssuedTokens
    issued_raters: IssuedRaters
    rate_limits: RateLimits
    channel: grpc.aio.Channel
    saga: SagaMonitor
    operators_tokens: frozenset[str]
    event_management: EventManagement | None

    def end_waits(self) -> None:
        """Has the requests answer that wait for something to happen, and ends the streams: the service stops."""
        self.changes.close()
        self.settlements.close()


@asynccontextmanager
async def open_state(settings: Settings) -> AsyncIterator[AppState]:
    """The state of a serving process; at its end what waits is committed and every connection closed."""
    async with AsyncExitStack() as stack:
        database_url = settings.database_url.get_secret_value()
        engine = create_engine(database_url, pool_size=settings.database_pool_size)
        stack.push_async_callback(engine.dispose)
        redis_url = settings.redis_url.get_secret_value()
        redis = open_redis(redis_url, timeout_seconds=REDIS_TIMEOUT_SECONDS)
        stack.push_async_callback(redis.aclose)
        counting_redis = open_redis(redis_url, timeout_seconds=TIMEOUT_SECONDS)
        stack.push_async_callback(counting_redis.aclose)
        rate_limits = await stack.enter_async_context(
            RateLimits(counting_redis, rater=settings.rate_limit_rater, address=settings.rate_limit_address)
        )
        channel = await stack.enter_async_context(
            open_channel(settings.line_provider_address, settings.line_provider_credentials())
        )
        catalog = EventCatalog(Prior(settings.top_prior_mean, settings.top_prior_weight))
        changes = EventChanges(catalog)
        documents = EventDocuments()
        listings = EventListings(catalog, changes, documents)
        stream = EventStream(
            catalog,
            changes,
            documents,
            heartbeat=settings.stream_heartbeat,
            max_listeners=settings.max_listeners,
        )
        feed = EventFeed(channel, EventCache(redis), catalog)
        await feed.load_from_cache()
        feeding = asyncio.create_task(feed.run(), name="event-feed")
        stack.push_async_callback(_cancel, feeding)
        telling = asyncio.create_task(changes.run(), name="event-changes")
        stack.push_async_callback(_cancel, telling)
        await feed.wait_for_snapshot(SNAPSHOT_WAIT_SECONDS)
        group_commit = GroupCommit(engine, max_waiting=settings.max_waiting)
        # Around it, so that what is committed last is counted too.
        await stack.enter_async_context(ThroughputRecorder(engine, lambda: {(ACCEPTED, ""): group_commit.accepted}))
        await stack.enter_async_context(group_commit)
        settlements = SettlementWatch(engine, database_url, max_waiting=settings.max_waiting)
        watching = asyncio.create_task(settlements.run(), name="settlement-watch")
        stack.push_async_callback(_cancel, watching)
        tokens = await stack.enter_async_context(_tokens(settings))
        yield AppState(
            engine=engine,
            redis=redis,
            catalog=catalog,
            feed=feed,
            changes=changes,
            documents=documents,
            listings=listings,
            stream=stream,
            group_commit=group_commit,
            settlements=settlements,
            tokens=tokens,
            issued_raters=IssuedRaters(engine),
            rate_limits=rate_limits,
            channel=channel,
            saga=SagaMonitor(engine),
            operators_tokens=frozenset(token.get_secret_value() for token in settings.admin_token or ()),
            event_management=_event_management(settings, channel),
        )


@asynccontextmanager
async def _tokens(settings: Settings) -> AsyncIterator[RaterTokens | IssuedTokens]:
    issuer, audience, url = settings.jwt_issuer, settings.jwt_audience, settings.jwt_jwks_url
    if settings.identity == "anonymous" or issuer is None or audience is None or url is None:
        yield RaterTokens(settings.secret_key.get_secret_value())
        return
    async with httpx.AsyncClient() as client:
        keys = IssuerKeys(client, url)
        reading = asyncio.create_task(keys.run(), name="issuer-keys-refresh")
        try:
            yield IssuedTokens(
                keys,
                issuer=issuer,
                audience=audience,
                algorithms=settings.jwt_algorithms,
                leeway=settings.jwt_leeway,
                secret_key=settings.secret_key.get_secret_value(),
            )
        finally:
            await _cancel(reading)


def _event_management(settings: Settings, channel: grpc.aio.Channel) -> EventManagement | None:
    token = settings.line_provider_token
    return EventManagement(channel, token.get_secret_value()) if token is not None else None


async def _cancel(task: "asyncio.Task[object]") -> None:
    task.cancel()
    await asyncio.wait({task})


async def _state(request: Request) -> AppState:
    state: AppState = request.state.app
    return state


State = Annotated[AppState, Depends(_state)]
