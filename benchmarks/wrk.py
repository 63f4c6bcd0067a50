"""wrk, which loads a server from few connections and little CPU, and what it counts."""

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


@dataclass(frozen=True, slots=True)
class Load:
    """Answers per second, and how long half of them and 99 of 100 took, in milliseconds."""

    per_second: float
    p50: float
    p99: float


def is_installed() -> bool:
    return shutil.which("wrk") is not None


async def run(url: str, script: Path, requests: str, *, seconds: float) -> Load:
    """Sends what the Lua function `request` in `requests` makes, for whole seconds, one at least.

    Raises RuntimeError where not every answer is fine.
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
        counted["requests"] / counted["microseconds"] * 1e6,
        counted["p50"] / 1_000,
        counted["p99"] / 1_000,
    )
