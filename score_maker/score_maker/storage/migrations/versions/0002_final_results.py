"""The final results that both services agreed on."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE final_results (
            event_id bigint PRIMARY KEY,
            score_count bigint NOT NULL CHECK (score_count >= 0),
            score_sum bigint NOT NULL CHECK (score_sum BETWEEN score_count AND 5 * score_count),
            finalized_at timestamptz NOT NULL
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE final_results")
