"""Scores and their outbox."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE scores (
            event_id bigint NOT NULL,
            rater_id uuid NOT NULL,
            value smallint CHECK (value BETWEEN 1 AND 5),
            version int NOT NULL CHECK (version >= 1),
            state text NOT NULL CHECK (state IN ('pending', 'confirmed', 'rejected', 'withdrawn')),
            reason text,
            confirmed_value smallint CHECK (confirmed_value BETWEEN 1 AND 5),
            confirmed_version int CHECK (confirmed_version BETWEEN 1 AND version),
            accepted_at timestamptz NOT NULL,
            settled_at timestamptz,
            PRIMARY KEY (event_id, rater_id),
            CHECK ((state = 'rejected') = (reason IS NOT NULL)),
            CHECK ((state = 'pending') = (settled_at IS NULL)),
            CHECK (state <> 'rejected' OR value IS NOT DISTINCT FROM confirmed_value)
        )
    """)
    # A rater's own ratings, newest first.
    op.execute("CREATE INDEX scores_by_rater ON scores (rater_id, accepted_at DESC, event_id DESC)")
    # A queue: rows come, are claimed and go. Vacuum by count, since a share of an almost empty table means nothing.
    op.execute("""
        CREATE TABLE scores_outbox (
            event_id bigint NOT NULL,
            id bigint GENERATED ALWAYS AS IDENTITY,
            rater_id uuid NOT NULL,
            value smallint,
            version int NOT NULL,
            accepted_at timestamptz NOT NULL,
            trace_context text,
            attempts int NOT NULL DEFAULT 0,
            next_attempt_at timestamptz NOT NULL DEFAULT now(),
            lease_token uuid,
            last_error text,
            PRIMARY KEY (event_id, id)
        ) WITH (
            autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
            autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 10000,
            autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000,
            autovacuum_vacuum_cost_delay = 0
        )
    """)
    # What is due, longest due first.
    op.execute("CREATE INDEX scores_outbox_due ON scores_outbox (next_attempt_at, id)")


def downgrade() -> None:
    op.execute("DROP TABLE scores_outbox")
    op.execute("DROP TABLE scores")
