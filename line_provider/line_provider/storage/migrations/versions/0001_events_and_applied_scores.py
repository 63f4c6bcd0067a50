"""Events and the scores that were applied to them."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The row of a popular event is rewritten with every batch of ratings. No index has the columns that change (the
    # totals, the status, the revision), and half of each page stays free, so that the new row version fits beside the
    # old one: a heap-only update, which touches no index and is pruned by the next reader of the page.
    op.execute("""
        CREATE TABLE events (
            event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            external_id text UNIQUE CHECK (char_length(external_id) BETWEEN 1 AND 200),
            title text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 200),
            description text NOT NULL CHECK (char_length(description) <= 10000),
            starts_at timestamptz NOT NULL,
            deadline timestamptz NOT NULL CHECK (deadline >= starts_at),
            status text NOT NULL DEFAULT 'processing' CHECK (status IN ('processing', 'low_score', 'high_score')),
            cancelled_at timestamptz,
            finalized_at timestamptz,
            score_count bigint NOT NULL DEFAULT 0,
            score_sum bigint NOT NULL DEFAULT 0,
            histogram bigint[] NOT NULL DEFAULT '{0,0,0,0,0}'
                CHECK (cardinality(histogram) = 5 AND 0 <= ALL (histogram)),
            revision bigint NOT NULL DEFAULT 1,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            CHECK (score_count = histogram[1] + histogram[2] + histogram[3] + histogram[4] + histogram[5]),
            CHECK (score_sum =
                histogram[1] + 2 * histogram[2] + 3 * histogram[3] + 4 * histogram[4] + 5 * histogram[5]),
            CHECK ((status = 'processing') = (score_count = 0))
        ) WITH (fillfactor = 50)
    """)
    # The three orders of a listing; the first index also serves the filter by phase.
    op.execute("CREATE INDEX events_by_deadline ON events (deadline, event_id)")
    op.execute("CREATE INDEX events_by_start ON events (starts_at, event_id)")
    op.execute("CREATE INDEX events_by_creation ON events (created_at DESC, event_id)")
    # The last applied version of each rating. A withdrawal keeps its row, because the version must not go back. There
    # is no foreign key: the statement that writes here has read the event and holds its lock, and checking the key of
    # each row would cost as much as the rest of that statement.
    op.execute("""
        CREATE TABLE applied_scores (
            event_id bigint NOT NULL,
            rater_id uuid NOT NULL,
            value smallint CHECK (value BETWEEN 1 AND 5),
            version int NOT NULL CHECK (version >= 1),
            applied_at timestamptz NOT NULL,
            PRIMARY KEY (event_id, rater_id)
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE applied_scores")
    op.execute("DROP TABLE events")
