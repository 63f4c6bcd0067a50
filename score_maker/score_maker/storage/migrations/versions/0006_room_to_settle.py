"""Room in each page of scores for what becomes of them.

Every score is written twice within moments: as it is accepted, and as it is settled. Where the second version fits
into the page of the first, no index needs a new entry, and the space of the first is used again without a vacuum.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE scores SET (fillfactor = 45)")


def downgrade() -> None:
    op.execute("ALTER TABLE scores RESET (fillfactor)")
