"""What line_provider tells Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

from line_provider.scores.domain import Reason, Verdict

RPCS = Counter("scoreline_rpcs_total", "Calls that have ended, by gRPC status", ["method", "code"])
RPC_SECONDS = Histogram(
    "scoreline_rpc_seconds",
    "How long calls took",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
WATCHERS = Gauge("scoreline_watchers", "Callers who are told of changes of events")
APPLIED = Counter("scoreline_applied_total", "Ratings that were ruled on", ["verdict", "reason"])
# What is there from the start can be seen to grow from nothing.
for _verdict in (Verdict.APPLIED, Verdict.DUPLICATE):
    APPLIED.labels(_verdict, "")
for _reason in Reason:
    APPLIED.labels(Verdict.REJECTED, _reason)
DATABASE_ANSWERS = Gauge("scoreline_database_answers", "1 while the database answers")
