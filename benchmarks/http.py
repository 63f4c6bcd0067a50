"""What score_maker makes of HTTP beside the framework alone: `make bench`.

Both serve the same requests, taking turns, each from one process on the same machine as the load.
"""

import argparse
import asyncio
import json
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import uvloop

from benchmarks import wrk
from benchmarks.wrk import Load
from devstack.addresses import Address
from devstack.processes import Process
from devstack.system import MANY_RATERS, System
from score_maker.raters import RaterTokens

RATERS = 100_000
CONNECTIONS = 64

_POST = """
local tokens, events = {{}}, {{{events}}}
for token in io.lines("{tokens}") do tokens[#tokens + 1] = token end
math.randomseed({seed})
request = function()
    return wrk.format(
        "POST", "/events/" .. events[math.random(#events)] .. "/score",
        {{["Authorization"] = "Bearer " .. tokens[math.random(#tokens)], ["Content-Type"] = "application/json"}},
        '{{"score": ' .. math.random(5) .. '}}')
end
"""
_GET = """
request = function() return wrk.format("GET", "/events?limit=50") end
"""


async def _main(data: Path, rounds: int, seconds: float) -> None:
    secret = secrets.token_hex(32)
    settings = {**MANY_RATERS, "SCORE_MAKER_SECRET_KEY": secret}
    noop_address = Address.free()
    noop = Process(
        "noop",
        [sys.executable, "-m", "benchmarks.noop", str(noop_address.port)],
        state=data,
        folder=Path.cwd(),
        is_ready=lambda: asyncio.to_thread(_answers, f"http://{noop_address}/events"),
    )
    tokens = data / "tokens"
    mint = RaterTokens(secret).mint
    tokens.write_text("\n".join(mint().token for _ in range(RATERS)))
    async with System(data, settings=settings, say=print) as system, noop:
        events = await asyncio.to_thread(_open_events, system.http_url)

        def post() -> str:
            return _POST.format(tokens=tokens, events=", ".join(map(str, events)), seed=secrets.randbelow(2**31))

        for name, requests in (("POST /events/{event_id}/score", post), ("GET /events", lambda: _GET)):
            await _compare(
                name, requests, f"http://{noop_address}", system.http_url, data, rounds=rounds, seconds=seconds
            )


async def _compare(
    name: str, requests: Callable[[], str], noop: str, ours: str, data: Path, *, rounds: int, seconds: float
) -> None:
    loads: dict[str, list[Load]] = {"no-op": [], "score_maker": []}
    for _ in range(rounds):
        for who, url in (("no-op", noop), ("score_maker", ours)):
            load = await asyncio.to_thread(
                wrk.run, url, data / "load.lua", requests(), seconds=seconds, connections=CONNECTIONS
            )
            loads[who].append(load)
    print(f"\n{name}, {CONNECTIONS} connections, median of {rounds} rounds")
    base = statistics.median(load.per_second for load in loads["no-op"])
    for who, measured in loads.items():
        per_second = statistics.median(load.per_second for load in measured)
        p50, p99 = (statistics.median(getattr(load, at) for load in measured) for at in ("p50", "p99"))
        print(f"{who:>12} {per_second:>8.0f}/s {per_second / base:>6.2f}   p50 {p50:6.1f} ms   p99 {p99:6.1f} ms")


def _open_events(url: str) -> list[int]:
    with urlopen(f"{url}/events?phase=open&limit=50", timeout=5) as response:
        return [event["event_id"] for event in json.load(response)["events"]]


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=1):
            return True
    except OSError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    if not wrk.is_installed():
        sys.exit("wrk is not installed; on Debian, `apt-get install wrk` installs it.")
    data = Path(tempfile.mkdtemp(prefix="scoreline-bench-"))
    try:
        uvloop.run(_main(data, arguments.rounds, arguments.seconds))
    except subprocess.CalledProcessError as failed:
        sys.exit(failed.stderr)
    finally:
        shutil.rmtree(data)


if __name__ == "__main__":
    main()
