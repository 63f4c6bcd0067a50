"""Applies scores: each (event, rater, version) changes the event's totals at most once, however often and in whatever
order it is delivered, and a repeat gets the verdict DUPLICATE.

There are two statements. The first locks the batch's events in the order of their ids, so that batches cannot deadlock;
every writer of an event's totals, or of its applied scores, holds that lock. The second does the work. A statement sees
what was committed before it began, not what is committed while it waits. So the locks are taken before it begins: the
event that it checks, the versions that it compares and the totals that it adds to are then the latest, and stay so.
"""

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from line_provider.events.domain import Status
from line_provider.scale import SCALE
from line_provider.scores.domain import Decision, Reason, ScoreChange, Verdict
from line_provider.storage.channels import EVENT_CHANGES

_LOCK = text("""
    SELECT FROM events WHERE event_id = ANY(CAST(:event_ids AS bigint[])) ORDER BY event_id FOR NO KEY UPDATE
""")


def _status(count: str, total: str) -> str:
    """The status rule as SQL: the average of the ratings that count is compared with the threshold."""
    return f"""
        CASE
            WHEN {count} = 0 THEN '{Status.PROCESSING}'
            WHEN {total} >= CAST(:high_score_from AS numeric) * ({count}) THEN '{Status.HIGH_SCORE}'
            ELSE '{Status.LOW_SCORE}'
        END
    """


_HISTOGRAM_DIFFERENCE = ", ".join(
    f"count(*) FILTER (WHERE new_value = {value}) - count(*) FILTER (WHERE old_value = {value})" for value in SCALE
)
# PostgreSQL numbers the elements of an array from 1, whatever value the scale starts with.
_NEW_HISTOGRAM = ", ".join(
    f"rated.histogram[{position}] + difference.histogram[{position}]" for position in range(1, len(SCALE) + 1)
)

# The LIMIT makes PostgreSQL look up applied scores row by row, so that a batch costs the same however long that table
# is: the plan is cached, and one made while the table was short would read all of it until the table is analysed.
# A version that is not above the applied one is a repeat, whatever has become of its event since. If several versions
# of one score may be applied, the highest is; the lower ones are then repeats, which it supersedes.
_APPLY = text(f"""
    WITH event AS MATERIALIZED (
        SELECT event_id, cancelled_at, finalized_at, deadline
        FROM events
        WHERE event_id = ANY(CAST(:locked_ids AS bigint[]))
    ), change AS (
        SELECT *
        FROM unnest(
            CAST(:event_ids AS bigint[]), CAST(:rater_ids AS uuid[]), CAST(:values AS smallint[]),
            CAST(:versions AS int[]), CAST(:accepted_ats AS timestamptz[])
        ) WITH ORDINALITY AS c(event_id, rater_id, value, version, accepted_at, position)
    ), checked AS (
        SELECT change.*,
            CASE
                WHEN change.version <= applied.version THEN '{Verdict.DUPLICATE}'
                WHEN event.event_id IS NULL THEN '{Reason.EVENT_NOT_FOUND}'
                WHEN event.cancelled_at IS NOT NULL THEN '{Reason.EVENT_CANCELLED}'
                WHEN event.finalized_at IS NOT NULL THEN '{Reason.EVENT_FINAL}'
                WHEN change.accepted_at > event.deadline THEN '{Reason.DEADLINE_PASSED}'
                ELSE '{Verdict.APPLIED}'
            END AS decision
        FROM change
        LEFT JOIN event USING (event_id)
        LEFT JOIN LATERAL (
            SELECT version FROM applied_scores
            WHERE event_id = change.event_id AND rater_id = change.rater_id LIMIT 1
        ) AS applied ON true
    ), chosen AS (
        SELECT DISTINCT ON (event_id, rater_id) *
        FROM checked
        WHERE decision = '{Verdict.APPLIED}'
        ORDER BY event_id, rater_id, version DESC, position
    ), written AS (
        INSERT INTO applied_scores AS applied (event_id, rater_id, value, version, applied_at)
        SELECT event_id, rater_id, value, version, now()
        FROM chosen
        ON CONFLICT (event_id, rater_id) DO UPDATE
        SET value = excluded.value, version = excluded.version, applied_at = excluded.applied_at
        WHERE applied.version < excluded.version
        RETURNING applied.event_id, old.value AS old_value, new.value AS new_value
    ), difference AS (
        SELECT event_id,
            count(new_value) - count(old_value) AS count,
            coalesce(sum(new_value), 0) - coalesce(sum(old_value), 0) AS sum,
            ARRAY[{_HISTOGRAM_DIFFERENCE}] AS histogram
        FROM written
        GROUP BY event_id
    ), updated AS (
        UPDATE events AS rated
        SET score_count = score_count + difference.count,
            score_sum = score_sum + difference.sum,
            histogram = ARRAY[{_NEW_HISTOGRAM}],
            status = {_status("score_count + difference.count", "score_sum + difference.sum")},
            revision = revision + 1,
            updated_at = now()
        FROM difference
        WHERE rated.event_id = difference.event_id
        RETURNING pg_notify('{EVENT_CHANGES}', rated.event_id::text)
    )
    SELECT
        CASE
            WHEN checked.position = chosen.position THEN '{Verdict.APPLIED}'
            WHEN checked.version <= chosen.version THEN '{Verdict.DUPLICATE}'
            ELSE checked.decision
        END AS decision
    FROM checked
    LEFT JOIN chosen USING (event_id, rater_id)
    ORDER BY checked.position
""")  # noqa: S608 - the fragments are our own

_DECISIONS: dict[str, Decision] = {
    Verdict.APPLIED: Decision(Verdict.APPLIED),
    Verdict.DUPLICATE: Decision(Verdict.DUPLICATE),
    **{reason: Decision(Verdict.REJECTED, reason) for reason in Reason},
}


async def apply_scores(
    connection: AsyncConnection, changes: Sequence[ScoreChange], *, high_score_from: Decimal
) -> list[Decision]:
    """Applies the changes that may be applied, and returns one decision for each change, in their order.

    Nothing is durable before the caller commits. The changes must have passed `check_change`.
    """
    locked_ids = list({change.event_id for change in changes})
    await connection.execute(_LOCK, {"event_ids": locked_ids})
    rows = await connection.scalars(
        _APPLY,
        {
            "locked_ids": locked_ids,
            "event_ids": [change.event_id for change in changes],
            "rater_ids": [change.rater_id for change in changes],
            "values": [change.value for change in changes],
            "versions": [change.version for change in changes],
            "accepted_ats": [change.accepted_at for change in changes],
            "high_score_from": high_score_from,
        },
    )
    return [_DECISIONS[decision] for decision in rows]


_REFRESH_STATUSES = text(f"""
    WITH outdated AS (
        SELECT event_id FROM events
        WHERE status <> {_status("score_count", "score_sum")}
        ORDER BY event_id
        FOR NO KEY UPDATE
    )
    UPDATE events AS event
    SET status = {_status("score_count", "score_sum")}, revision = revision + 1, updated_at = now()
    FROM outdated
    WHERE event.event_id = outdated.event_id
    RETURNING pg_notify('{EVENT_CHANGES}', event.event_id::text)
""")  # noqa: S608 - the fragments are our own


async def refresh_statuses(connection: AsyncConnection, *, high_score_from: Decimal) -> None:
    """Gives every event the status that follows from its totals, since the threshold may have been changed."""
    await connection.execute(_REFRESH_STATUSES, {"high_score_from": high_score_from})
