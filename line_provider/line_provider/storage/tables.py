"""The tables of line_provider's database. Their checks and storage parameters are in the migrations."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)

from line_provider.scale import SCALE

metadata = MetaData()

_NO_RATINGS = f"'{{{','.join('0' for _ in SCALE)}}}'"

events = Table(
    "events",
    metadata,
    Column("event_id", BigInteger, Identity(always=True), primary_key=True),
    Column("external_id", Text, unique=True),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("starts_at", DateTime(timezone=True), nullable=False),
    Column("deadline", DateTime(timezone=True), nullable=False),
    Column("status", Text, nullable=False, server_default=text("'processing'")),
    Column("cancelled_at", DateTime(timezone=True)),
    Column("finalized_at", DateTime(timezone=True)),
    Column("score_count", BigInteger, nullable=False, server_default=text("0")),
    Column("score_sum", BigInteger, nullable=False, server_default=text("0")),
    Column("histogram", ARRAY(BigInteger), nullable=False, server_default=text(_NO_RATINGS)),
    Column("revision", BigInteger, nullable=False, server_default=text("1")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)

# The three orders of a listing.
Index("events_by_deadline", events.c.deadline, events.c.event_id)
Index("events_by_start", events.c.starts_at, events.c.event_id)
Index("events_by_creation", events.c.created_at.desc(), events.c.event_id)

applied_scores = Table(
    "applied_scores",
    metadata,
    Column("event_id", BigInteger, primary_key=True),
    Column("rater_id", Uuid, primary_key=True),
    Column("value", SmallInteger),
    Column("version", Integer, nullable=False),
    Column("applied_at", DateTime(timezone=True), nullable=False),
)
