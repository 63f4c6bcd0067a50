"""wrk, an HTTP load generator that needs few connections and little processor time, and its figures."""

import asyncio
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 64

_REPORT = """
done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\\n{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "failed": %d}\\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The number of answers, answers per second, and percentiles of the latency in milliseconds."""

    requests: int
    per_second: float
    p50: float
    p99: float


def is_installed() -> bool:
    return shutil.which("wrk") is not None


async def run(url: str, script: Path, requests: str, *, seconds: float) -> Load:
    """Sends the requests that the Lua function `request` in `requests` makes, for whole seconds, at least one.

    Writes the Lua code to `script`. Raises RuntimeError if any request fails or is answered with an error.
    """
    return await asyncio.to_thread(_run, url, script, requests, seconds)


def _run(url: str, script: Path, requests: str, seconds: float) -> Load:
    script.write_text(requests + _REPORT)
    command = ["wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{max(1, round(seconds))}s"]
    done = subprocess.run([*command, "--script", script, url], check=True, capture_output=True, text=True)
    counted = json.loads(done.stdout.splitlines()[-1])
    if counted["failed"]:
        raise RuntimeError(f"{counted['failed']} of {counted['requests']} requests failed: {done.stdout}")
    return Load(
        requests=counted["requests"],
        per_second=counted["requests"] / counted["microseconds"] * 1e6,
        p50=counted["p50"] / 1_000,
        p99=counted["p99"] / 1_000,
    )
