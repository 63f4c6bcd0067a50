"""Takes one protection away from a service before it starts: Python imports this module first if this folder is on
PYTHONPATH. SCORELINE_SABOTAGE names the protection; the service prints that it is gone, or does not start.

The module patches the statements and functions themselves, by name and by a part of their text. If a service has
changed in that place, the patch fails, and the service with it: a sabotage never misses in silence.
"""

import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType

from sqlalchemy import text

# ruff: noqa: PLC0415 - each service has only its own modules

NAME = "SCORELINE_SABOTAGE"
# The line that the service prints once the protection is gone.
SAID = "sabotaged: "

_Sabotage = Callable[[], None]
# The sabotages by name, each with the command of its service.
SABOTAGES: dict[str, tuple[str, _Sabotage]] = {}


def _in(service: str) -> Callable[[_Sabotage], _Sabotage]:
    def add(sabotage: _Sabotage) -> _Sabotage:
        SABOTAGES[sabotage.__name__] = service, sabotage
        return sabotage

    return add


def _rewrite(module: ModuleType, name: str, *replacements: tuple[str, str]) -> str:
    """Replaces the statement of a module, and returns the new text."""
    statement: str = getattr(module, name).text
    for pattern, replacement in replacements:
        statement, found = re.subn(pattern, replacement, statement, flags=re.DOTALL)
        if found != 1:
            raise LookupError(f"{module.__name__}.{name} has {found} times what is to be replaced: {pattern}")
    setattr(module, name, text(statement))
    return statement


@_in("line-provider")
def idempotent_apply() -> None:
    """A version that is not newer than the applied one is written and added again."""

    from line_provider.scores import apply

    _rewrite(
        apply,
        "_APPLY",
        (r"WHEN change\.version <= applied\.version THEN 'duplicate'", "WHEN false THEN 'duplicate'"),
        (r"WHERE applied\.version < excluded\.version", ""),
        (r"old\.value AS old_value", "CASE WHEN old.version < new.version THEN old.value END AS old_value"),
    )


@_in("line-provider")
def order_of_locks() -> None:
    """Batches lock their events in the order in which the request names them."""
    from sqlalchemy.ext.asyncio import AsyncConnection

    from line_provider.grpc_server import score_service
    from line_provider.scores import apply
    from line_provider.scores.domain import Decision, ScoreChange

    if score_service.__dict__["apply_scores"] is not apply.apply_scores:
        raise LookupError("score_service does not apply scores by scores.apply")
    lock_one = text("SELECT FROM events WHERE event_id = :event_id FOR NO KEY UPDATE")
    apply_in_order = apply.apply_scores

    async def apply_as_named(
        connection: AsyncConnection, changes: Sequence[ScoreChange], *, high_score_from: Decimal
    ) -> list[Decision]:
        for event_id in dict.fromkeys(change.event_id for change in changes):
            await connection.execute(lock_one, {"event_id": event_id})
        decisions: list[Decision] = await apply_in_order(connection, changes, high_score_from=high_score_from)
        return decisions

    score_service.__dict__["apply_scores"] = apply_as_named


@_in("line-provider")
def lock_before_judging() -> None:
    """Changes are checked against events as they were before a concurrent change of the event committed."""

    from line_provider.scores import apply

    _rewrite(apply, "_LOCK", (r"SELECT.*", "SELECT WHERE cardinality(CAST(:event_ids AS bigint[])) > 0"))


@_in("score-maker")
def one_transaction() -> None:
    """The score is committed first, and its outbox message in another transaction."""
    from sqlalchemy.ext.asyncio import AsyncConnection

    from score_maker.ratings import accept
    from score_maker.ratings.accept import Submission
    from score_maker.ratings.domain import Outcome, Score

    _rewrite(accept, "_SUBMIT", (r"\), queued AS \(.*?USING \(event_id, rater_id\)\s+\)\s+SELECT", ") SELECT"))
    submit_score = accept.submit
    queue = text("""
        INSERT INTO scores_outbox (event_id, rater_id, value, version, accepted_at)
        VALUES (:event_id, :rater_id, :value, :version, :accepted_at)
    """)

    async def submit(connection: AsyncConnection, submissions: Sequence[Submission]) -> list[Outcome]:
        async with connection.engine.begin() as first:
            outcomes = await submit_score(first, submissions)
        messages = [
            {name: getattr(score, name) for name in ("event_id", "rater_id", "value", "version", "accepted_at")}
            for score in outcomes
            if isinstance(score, Score)
        ]
        if messages:
            await connection.execute(queue, messages)
        return outcomes

    accept.submit = submit


@_in("arq-worker")
def settling_by_version() -> None:
    """A verdict on any version decides the score."""
    from score_maker.ratings.domain import Decision, Score, settle
    from score_maker.saga import settlement

    def settle_any_version(score: Score, decision: Decision, at: datetime) -> Score:
        return settle(score, decision._replace(version=score.version), at)

    if settlement.__dict__["settle"] is not settle:
        raise LookupError("settlement does not settle by domain.settle")
    settlement.__dict__["settle"] = settle_any_version


@_in("arq-worker")
def lease_token() -> None:
    """A worker that has lost its lease settles and postpones messages that another one has claimed since."""
    from score_maker.saga import outbox

    fence = (r"AND message\.lease_token = :lease_token", "AND CAST(:lease_token AS uuid) IS NOT NULL")
    _rewrite(outbox, "_TAKE", fence)
    _rewrite(outbox, "_POSTPONE", fence)


def _sabotage(name: str, command: Sequence[str]) -> None:
    service, take_away = SABOTAGES[name]
    if service in (Path(part).name for part in command):
        take_away()
        print(f"{SAID}{name}", file=sys.stderr, flush=True)


if name := os.environ.get(NAME):
    try:
        _sabotage(name, sys.orig_argv)
    except Exception:  # noqa: BLE001 - Python itself would print it and go on
        traceback.print_exc()
        os._exit(1)
