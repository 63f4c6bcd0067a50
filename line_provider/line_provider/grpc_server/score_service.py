"""ScoreService: ratings on their way into the totals, by apply.py."""
# ruff: noqa: N802 - the methods bear the contract's names

import time
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import grpc
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind
from sqlalchemy.ext.asyncio import AsyncEngine

from line_provider.events import changes, queries
from line_provider.events.domain import EventNotFound, Invalid, check_event_id
from line_provider.grpc_server import metrics
from line_provider.grpc_server.translate import (
    VERDICTS,
    applied_message,
    change_of,
    event_message,
    rater_id_of,
    ruling_message,
    totals_message,
)
from line_provider.scores import apply
from line_provider.scores.domain import Reason, Ruling, ScoreChange, ScoreRefused, Verdict
from line_provider.scores.queries import list_applied, totals_of
from scoreline.line_provider.v1 import scores_pb2, scores_pb2_grpc
from scoreline_common.database import autocommit
from scoreline_common.telemetry.tracing import parent_of

Context = grpc.aio.ServicerContext[Any, Any]

LARGEST_BATCH = 10_000
DEFAULT_PAGE = 1_000

_tracer = trace.get_tracer("line_provider")

_INVALID = Ruling(Verdict.REJECTED, Reason.INVALID)


class ScoreService(scores_pb2_grpc.ScoreServiceServicer):
    def __init__(self, engine: AsyncEngine, *, high_score_from: Decimal) -> None:
        self._engine = engine
        self._high_score_from = high_score_from

    async def ApplyScores(
        self, request: scores_pb2.ApplyScoresRequest, _context: Context
    ) -> scores_pb2.ApplyScoresResponse:
        _check_size("changes", len(request.changes))
        readable = [_readable(message) for message in request.changes]
        changes = [change for change in readable if change is not None]
        began = time.time_ns()
        ruled = iter(await self._apply(changes) if changes else [])
        rulings = [next(ruled) if change else _INVALID for change in readable]
        _tell(request.changes, rulings, began)
        return scores_pb2.ApplyScoresResponse(verdicts=map(ruling_message, rulings))

    async def UpdateEventStatusByScore(
        self, request: scores_pb2.UpdateEventStatusByScoreRequest, _context: Context
    ) -> scores_pb2.UpdateEventStatusByScoreResponse:
        if not request.HasField("change"):
            raise Invalid("change", "must be set")
        change = change_of(request.change)
        began = time.time_ns()
        async with self._engine.begin() as connection:
            (ruling,) = await apply.apply_scores(connection, [change], high_score_from=self._high_score_from)
            if ruling.reason is Reason.EVENT_NOT_FOUND:
                raise EventNotFound(change.event_id)
            if ruling.reason is not None:
                raise ScoreRefused(change.event_id, ruling.reason)
            event = await queries.get(connection, change.event_id)
        _tell([request.change], [ruling], began)
        return scores_pb2.UpdateEventStatusByScoreResponse(verdict=VERDICTS[ruling.verdict], event=event_message(event))

    async def GetTotals(self, request: scores_pb2.GetTotalsRequest, _context: Context) -> scores_pb2.GetTotalsResponse:
        _check_size("event_ids", len(request.event_ids))
        event_ids = [check_event_id(event_id, "event_ids") for event_id in request.event_ids]
        async with autocommit(self._engine) as connection:
            totals = await totals_of(connection, event_ids)
        return scores_pb2.GetTotalsResponse(
            events=[
                scores_pb2.EventTotals(event_id=event_id, totals=totals_message(of_event))
                for event_id, of_event in totals.items()
            ]
        )

    async def GetAppliedScores(
        self, request: scores_pb2.GetAppliedScoresRequest, _context: Context
    ) -> scores_pb2.GetAppliedScoresResponse:
        event_id = check_event_id(request.event_id)
        if not 0 <= request.page_size <= LARGEST_BATCH:
            raise Invalid("page_size", f"must be 1 to {LARGEST_BATCH:,}, or 0 for {DEFAULT_PAGE:,}")
        after = rater_id_of("after_rater_id", request.after_rater_id) if request.after_rater_id else None
        async with self._engine.connect() as connection:
            await queries.get(connection, event_id)
            page = await list_applied(connection, event_id, limit=request.page_size or DEFAULT_PAGE, after=after)
        return scores_pb2.GetAppliedScoresResponse(scores=map(applied_message, page))

    async def FinalizeEvent(
        self, request: scores_pb2.FinalizeEventRequest, _context: Context
    ) -> scores_pb2.FinalizeEventResponse:
        event_id = check_event_id(request.event_id)
        async with self._engine.begin() as connection:
            event = await changes.finalize(connection, event_id, count=request.count, total=request.sum)
        return scores_pb2.FinalizeEventResponse(event=event_message(event))

    async def _apply(self, changes: list[ScoreChange]) -> list[Ruling]:
        async with self._engine.begin() as connection:
            return await apply.apply_scores(connection, changes, high_score_from=self._high_score_from)


def _tell(changes: Sequence[scores_pb2.ScoreChange], rulings: Sequence[Ruling], began: int) -> None:
    """Counts the rulings; and each rating that is followed gets a span in its own trace, linked with the batch's."""
    for (verdict, reason), count in Counter((ruling.verdict, ruling.reason) for ruling in rulings).items():
        metrics.APPLIED.labels(verdict, reason or "").inc(count)
    for change, ruling in zip(changes, rulings, strict=True):
        if change.trace_context:
            attributes: dict[str, str | int] = {
                "scoreline.event_id": change.event_id,
                "scoreline.version": change.version,
                "scoreline.verdict": ruling.verdict,
                "scoreline.reason": ruling.reason or "",
            }
            links = [Link(trace.get_current_span().get_span_context())]
            context = parent_of(change.trace_context)
            _tracer.start_span("apply", context, SpanKind.CONSUMER, attributes, links, start_time=began).end()


def _readable(message: scores_pb2.ScoreChange) -> ScoreChange | None:
    try:
        return change_of(message)
    except Invalid:
        return None


def _check_size(field: str, size: int) -> None:
    if size > LARGEST_BATCH:
        raise Invalid(field, f"must be at most {LARGEST_BATCH:,}, not {size:,}")
