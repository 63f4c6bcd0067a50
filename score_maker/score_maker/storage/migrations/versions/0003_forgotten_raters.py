"""The raters who asked to be forgotten."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE forgotten_raters (
            rater_id uuid PRIMARY KEY,
            forgotten_at timestamptz NOT NULL,
            finished_at timestamptz
        )
    """)
    # Whose ratings may not all have been withdrawn yet.
    op.execute("CREATE INDEX forgotten_raters_unfinished ON forgotten_raters (forgotten_at) WHERE finished_at IS NULL")


def downgrade() -> None:
    op.execute("DROP TABLE forgotten_raters")
