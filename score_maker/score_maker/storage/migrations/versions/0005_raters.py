"""Which rater a subject of the issuer is.

Until now the id was computed from issuer and subject. Ratings under such ids count on, as those of raters whom no
token names any more.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE raters (
            subject_key bytea PRIMARY KEY CHECK (octet_length(subject_key) = 32),
            rater_id uuid NOT NULL UNIQUE
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE raters")
