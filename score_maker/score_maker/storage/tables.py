"""The tables of score_maker's database. Check constraints and tuning are in the migrations."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)

metadata = MetaData()

scores = Table(
    "scores",
    metadata,
    Column("event_id", BigInteger, primary_key=True),
    Column("rater_id", Uuid, primary_key=True),
    Column("value", SmallInteger),
    Column("version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("confirmed_value", SmallInteger),
    Column("confirmed_version", Integer),
    Column("accepted_at", DateTime(timezone=True), nullable=False),
    Column("settled_at", DateTime(timezone=True)),
)

# A rater's own ratings, newest first.
Index("scores_by_rater", scores.c.rater_id, scores.c.accepted_at.desc(), scores.c.event_id.desc())

scores_outbox = Table(
    "scores_outbox",
    metadata,
    # The key leads with event_id so that the table can be distributed by it, next to scores.
    Column("event_id", BigInteger, primary_key=True),
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("rater_id", Uuid, nullable=False),
    Column("value", SmallInteger),
    Column("version", Integer, nullable=False),
    Column("accepted_at", DateTime(timezone=True), nullable=False),
    Column("trace_context", Text),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_attempt_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("lease_token", Uuid),
    Column("last_error", Text),
)

# Due messages, longest due first.
Index("scores_outbox_due", scores_outbox.c.next_attempt_at, scores_outbox.c.id)

# Final results: recorded when both services agreed after the deadline and nothing was undecided.
final_results = Table(
    "final_results",
    metadata,
    Column("event_id", BigInteger, primary_key=True),
    Column("score_count", BigInteger, nullable=False),
    Column("score_sum", BigInteger, nullable=False),
    Column("finalized_at", DateTime(timezone=True), nullable=False),
)

# Erased raters: nothing is accepted from them nor shown to them; `finished_at` once their withdrawals are done.
forgotten_raters = Table(
    "forgotten_raters",
    metadata,
    Column("rater_id", Uuid, primary_key=True),
    Column("forgotten_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
)

# Erased raters whose ratings may not all have been withdrawn yet.
Index("forgotten_raters_unfinished", forgotten_raters.c.forgotten_at, postgresql_where=text("finished_at IS NULL"))

# Which rater a subject of the issuer is (SCORE_MAKER_IDENTITY=jwt). Erasing the rater deletes the row.
raters = Table(
    "raters",
    metadata,
    Column("subject_key", LargeBinary, primary_key=True),
    Column("rater_id", Uuid, nullable=False, unique=True),
)

# How many submissions were accepted and decided in each five seconds of the last hour (see throughput.py).
throughput = Table(
    "throughput",
    metadata,
    Column("slot", DateTime(timezone=True), primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("ratings", BigInteger, nullable=False),
)

# The last pass of reconciliation: one row.
last_reconciliation = Table(
    "last_reconciliation",
    metadata,
    Column("is_last", Boolean, primary_key=True, server_default=text("true")),
    Column("finished_at", DateTime(timezone=True), nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("divergent_event_ids", ARRAY(BigInteger), nullable=False),
)
