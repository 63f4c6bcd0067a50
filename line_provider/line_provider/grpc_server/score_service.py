"""ScoreService: applies scores, and serves what reconciliation and finalization need, as the contract promises."""
# ruff: noqa: N802 - the methods have the contract's names

import time
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import grpc
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind
from sqlalchemy.ext.asyncio import AsyncEngine

from line_provider.events.changes import finalize_event
from line_provider.events.domain import EventNotFound, Invalid, check_event_id
from line_provider.events.queries import get_event
from line_provider.grpc_server import metrics
from line_provider.grpc_server.translate import (
    VERDICTS,
    applied_message,
    change_of,
    decision_message,
    event_message,
    rater_id_of,
    totals_message,
)
from line_provider.scores.apply import apply_scores
from line_provider.scores.domain import Decision, Reason, ScoreChange, ScoreRejected, Verdict
from line_provider.scores.queries import get_totals, list_applied_scores
from scoreline.line_provider.v1 import scores_pb2, scores_pb2_grpc
from scoreline_common.database import autocommit
from scoreline_common.telemetry.tracing import parent_of

Context = grpc.aio.ServicerContext[Any, Any]

LARGEST_BATCH = 10_000
DEFAULT_PAGE = 1_000

_tracer = trace.get_tracer("line_provider")

_INVALID = Decision(Verdict.REJECTED, Reason.INVALID)


class ScoreService(scores_pb2_grpc.ScoreServiceServicer):
    def __init__(self, engine: AsyncEngine, *, high_score_from: Decimal) -> None:
        self._engine = engine
        self._high_score_from = high_score_from

    async def ApplyScores(
        self, request: scores_pb2.ApplyScoresRequest, _context: Context
    ) -> scores_pb2.ApplyScoresResponse:
        _check_size("changes", len(request.changes))
        parsed = [_parse(message) for message in request.changes]
        changes = [change for change in parsed if change is not None]
        began = time.time_ns()
        decided = iter(await self._apply(changes) if changes else [])
        decisions = [next(decided) if change else _INVALID for change in parsed]
        _record(request.changes, decisions, began)
        return scores_pb2.ApplyScoresResponse(verdicts=map(decision_message, decisions))

    async def UpdateEventStatusByScore(
        self, request: scores_pb2.UpdateEventStatusByScoreRequest, _context: Context
    ) -> scores_pb2.UpdateEventStatusByScoreResponse:
        if not request.HasField("change"):
            raise Invalid("change", "must be set")
        change = change_of(request.change)
        began = time.time_ns()
        async with self._engine.begin() as connection:
            (decision,) = await apply_scores(connection, [change], high_score_from=self._high_score_from)
            if decision.reason is Reason.EVENT_NOT_FOUND:
                raise EventNotFound(change.event_id)
            if decision.reason is not None:
                raise ScoreRejected(change.event_id, decision.reason)
            event = await get_event(connection, change.event_id)
        _record([request.change], [decision], began)
        return scores_pb2.UpdateEventStatusByScoreResponse(
            verdict=VERDICTS[decision.verdict], event=event_message(event)
        )

    async def GetTotals(self, request: scores_pb2.GetTotalsRequest, _context: Context) -> scores_pb2.GetTotalsResponse:
        _check_size("event_ids", len(request.event_ids))
        event_ids = [check_event_id(event_id, "event_ids") for event_id in request.event_ids]
        async with autocommit(self._engine) as connection:
            totals = await get_totals(connection, event_ids)
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
            await get_event(connection, event_id)
            page = await list_applied_scores(connection, event_id, limit=request.page_size or DEFAULT_PAGE, after=after)
        return scores_pb2.GetAppliedScoresResponse(scores=map(applied_message, page))

    async def FinalizeEvent(
        self, request: scores_pb2.FinalizeEventRequest, _context: Context
    ) -> scores_pb2.FinalizeEventResponse:
        event_id = check_event_id(request.event_id)
        async with self._engine.begin() as connection:
            event = await finalize_event(connection, event_id, count=request.count, total=request.sum)
        return scores_pb2.FinalizeEventResponse(event=event_message(event))

    async def _apply(self, changes: list[ScoreChange]) -> list[Decision]:
        async with self._engine.begin() as connection:
            return await apply_scores(connection, changes, high_score_from=self._high_score_from)


def _record(changes: Sequence[scores_pb2.ScoreChange], decisions: Sequence[Decision], began: int) -> None:
    """Counts the decisions. Each traced rating gets a span in its own trace, linked to the span of the batch."""
    for (verdict, reason), count in Counter((each.verdict, each.reason) for each in decisions).items():
        metrics.APPLIED.labels(verdict, reason or "").inc(count)
    for change, decision in zip(changes, decisions, strict=True):
        if change.trace_context:
            attributes: dict[str, str | int] = {
                "scoreline.event_id": change.event_id,
                "scoreline.version": change.version,
                "scoreline.verdict": decision.verdict,
                "scoreline.reason": decision.reason or "",
            }
            links = [Link(trace.get_current_span().get_span_context())]
            context = parent_of(change.trace_context)
            _tracer.start_span("apply", context, SpanKind.CONSUMER, attributes, links, start_time=began).end()


def _parse(message: scores_pb2.ScoreChange) -> ScoreChange | None:
    """Returns None for a change that breaks the contract: it must not fail the other changes of its batch."""
    try:
        return change_of(message)
    except Invalid:
        return None


def _check_size(field: str, size: int) -> None:
    if size > LARGEST_BATCH:
        raise Invalid(field, f"must be at most {LARGEST_BATCH:,}, not {size:,}")
