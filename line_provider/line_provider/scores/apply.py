"""Applying ratings: each (event, rater, version) changes the totals at most once, however often and in whatever order
it arrives, and a repeat is told so.

Two statements. The first locks the batch's events in the order of their ids, so that batches never deadlock; every
writer of an event's totals or of its scores holds that lock. The second does the work. A statement sees what was
committed before it began, not what is committed while it waits; so the locks are taken before it begins, and the
event that it judges, the versions that it compares and the totals that it adds to are the latest and stay so.
"""

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from line_provider.scores.domain import Reason, Ruling, ScoreChange, Verdict

_LOCK = text("""
    SELECT FROM events WHERE event_id = ANY(CAST(:event_ids AS bigint[])) ORDER BY event_id FOR NO KEY UPDATE
""")


def _status(count: str, total: str) -> str:
    """The status rule: the average of the ratings that stand, held against the threshold."""
    return f"""
        CASE
            WHEN {count} = 0 THEN 'processing'
            WHEN {total} >= CAST(:high_score_from AS numeric) * ({count}) THEN 'high_score'
            ELSE 'low_score'
        END
    """


# The limit has what is applied looked up row by row, so that a batch costs the same however much that is: PostgreSQL
# keeps its plan, and one made for a short table would read all of it until somebody analyses it.
# A version that is not above the applied one is a repeat, whatever has become of its event since. Of several versions
# of one rating that may be applied, the highest is; those below it are then repeats of what it covers.
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
    ), judged AS (
        SELECT change.*,
            CASE
                WHEN change.version <= applied.version THEN 'duplicate'
                WHEN event.event_id IS NULL THEN 'event_not_found'
                WHEN event.cancelled_at IS NOT NULL THEN 'event_cancelled'
                WHEN event.finalized_at IS NOT NULL THEN 'event_final'
                WHEN change.accepted_at > event.deadline THEN 'deadline_passed'
                ELSE 'applied'
            END AS ruling
        FROM change
        LEFT JOIN event USING (event_id)
        LEFT JOIN LATERAL (
            SELECT version FROM applied_scores
            WHERE event_id = change.event_id AND rater_id = change.rater_id LIMIT 1
        ) AS applied ON true
    ), chosen AS (
        SELECT DISTINCT ON (event_id, rater_id) *
        FROM judged
        WHERE ruling = 'applied'
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
            count(*) FILTER (WHERE new_value = 1) - count(*) FILTER (WHERE old_value = 1) AS ones,
            count(*) FILTER (WHERE new_value = 2) - count(*) FILTER (WHERE old_value = 2) AS twos,
            count(*) FILTER (WHERE new_value = 3) - count(*) FILTER (WHERE old_value = 3) AS threes,
            count(*) FILTER (WHERE new_value = 4) - count(*) FILTER (WHERE old_value = 4) AS fours,
            count(*) FILTER (WHERE new_value = 5) - count(*) FILTER (WHERE old_value = 5) AS fives
        FROM written
        GROUP BY event_id
    ), updated AS (
        UPDATE events AS rated
        SET score_count = score_count + difference.count,
            score_sum = score_sum + difference.sum,
            histogram = ARRAY[
                histogram[1] + ones, histogram[2] + twos, histogram[3] + threes, histogram[4] + fours,
                histogram[5] + fives
            ],
            status = {_status("score_count + difference.count", "score_sum + difference.sum")},
            revision = revision + 1,
            updated_at = now()
        FROM difference
        WHERE rated.event_id = difference.event_id
        RETURNING pg_notify('event_changes', rated.event_id::text)
    )
    SELECT
        CASE
            WHEN judged.position = chosen.position THEN 'applied'
            WHEN judged.version <= chosen.version THEN 'duplicate'
            ELSE judged.ruling
        END AS ruling
    FROM judged
    LEFT JOIN chosen USING (event_id, rater_id)
    ORDER BY judged.position
""")  # noqa: S608 - the fragments are our own

_RULINGS: dict[str, Ruling] = {
    Verdict.APPLIED: Ruling(Verdict.APPLIED),
    Verdict.DUPLICATE: Ruling(Verdict.DUPLICATE),
    **{reason: Ruling(Verdict.REJECTED, reason) for reason in Reason},
}


async def apply_scores(
    connection: AsyncConnection, changes: Sequence[ScoreChange], *, high_score_from: Decimal
) -> list[Ruling]:
    """Applies what may be applied, and rules on each change, in their order. Nothing holds until the caller commits.

    The changes must have passed `check_change`.
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
    return [_RULINGS[ruling] for ruling in rows]


_RULE_AGAIN = text(f"""
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
    RETURNING pg_notify('event_changes', event.event_id::text)
""")  # noqa: S608 - the fragments are our own


async def rule_again(connection: AsyncConnection, *, high_score_from: Decimal) -> None:
    """Gives every event the status that its totals have under this threshold, which may have been changed."""
    await connection.execute(_RULE_AGAIN, {"high_score_from": high_score_from})
