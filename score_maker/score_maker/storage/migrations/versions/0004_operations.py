"""What the operators are shown of the saga: how much went through it lately, and the last reconciliation."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A few rows for every five seconds of the last hour, however many ratings there are.
    op.execute("""
        CREATE TABLE throughput (
            slot timestamptz NOT NULL,
            outcome text NOT NULL,
            reason text NOT NULL,
            ratings bigint NOT NULL CHECK (ratings > 0),
            PRIMARY KEY (slot, outcome, reason)
        )
    """)
    # One row, of the pass that ended last.
    op.execute("""
        CREATE TABLE last_reconciliation (
            is_last boolean PRIMARY KEY DEFAULT true CHECK (is_last),
            finished_at timestamptz NOT NULL,
            events bigint NOT NULL,
            divergent_event_ids bigint[] NOT NULL
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE last_reconciliation")
    op.execute("DROP TABLE throughput")
