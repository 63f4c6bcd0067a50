"""The Prometheus metrics of line_provider."""

from prometheus_client import Counter, Gauge, Histogram

from line_provider.scores.domain import Reason, Verdict

RPCS = Counter("scoreline_rpcs_total", "Calls that have ended, by method and gRPC status", ["method", "code"])
RPC_SECONDS = Histogram(
    "scoreline_rpc_seconds",
    "Duration of unary calls",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
WATCHERS = Gauge("scoreline_watchers", "Open watches of events")
APPLIED = Counter(
    "scoreline_applied_total", "Score changes decided, by verdict and rejection reason", ["verdict", "reason"]
)
# Every label exists from the start, so that rate() sees the first increment.
for _verdict in (Verdict.APPLIED, Verdict.DUPLICATE):
    APPLIED.labels(_verdict, "")
for _reason in Reason:
    APPLIED.labels(Verdict.REJECTED, _reason)
DATABASE_ANSWERS = Gauge("scoreline_database_answers", "1 while the database answers, otherwise 0")
