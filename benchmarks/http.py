"""What score_maker makes of HTTP beside the framework alone: `make bench`.

Both serve the same requests, taking turns, each from one process on the same machine as the load. Ratings are taken
twice: with arq_worker stopped, which is score_maker and its database alone, and while arq_worker and line_provider work
through them on the same processors.
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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from urllib.request import urlopen

import psutil
import uvloop

from benchmarks import wrk
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


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds; p50 and p99 in milliseconds."""

    per_second: float
    p50: float
    p99: float
    cpu_microseconds: float

    @classmethod
    def median(cls, each: Sequence["Figures"]) -> "Figures":
        return cls(*(statistics.median(getattr(figures, field.name) for figures in each) for field in fields(cls)))


async def _main(data: Path, *, rounds: int, seconds: float) -> dict[str, dict[str, Figures]]:
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

        async def compare(name: str, requests: Callable[[], str]) -> dict[str, Figures]:
            figures = await _compare(
                requests,
                {"no-op": (noop, f"http://{noop_address}"), "score_maker": (system.score_maker, system.http_url)},
                data / "load.lua",
                rounds=rounds,
                seconds=seconds,
            )
            _print(name, figures)
            return figures

        await system.arq_worker.stop()
        results = {"get_events": await compare("GET /events", lambda: _GET)}
        results["post_score"] = await compare("POST …/score, nothing relayed", post)
        await system.arq_worker.start()
        results["post_score_relayed"] = await compare("POST …/score, relayed meanwhile", post)
    return results


async def _compare(
    requests: Callable[[], str], servers: dict[str, tuple[Process, str]], script: Path, *, rounds: int, seconds: float
) -> dict[str, "Figures"]:
    rows: dict[str, list[Figures]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, (process, url) in servers.items():
            before = _cpu_seconds(process)
            load = await asyncio.to_thread(wrk.run, url, script, requests(), seconds=seconds, connections=CONNECTIONS)
            cpu = (_cpu_seconds(process) - before) / (load.per_second * seconds)
            rows[name].append(Figures(load.per_second, load.p50, load.p99, cpu * 1e6))
    return {name: Figures.median(measured) for name, measured in rows.items()}


def _cpu_seconds(process: Process) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def _print(name: str, figures: dict[str, Figures]) -> None:
    base = figures["no-op"]
    print(f"\n{name}")
    for who, each in figures.items():
        print(
            f"{who:>12} {each.per_second:>8.0f}/s {each.per_second / base.per_second:>6.2f}   p50 {each.p50:6.1f} ms   "
            f"p99 {each.p99:6.1f} ms   {each.cpu_microseconds:6.0f} µs of its processor each"
        )


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
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    arguments = parser.parse_args()
    if not wrk.is_installed():
        sys.exit("wrk is not installed; on Debian, `apt-get install wrk` installs it.")
    data = Path(tempfile.mkdtemp(prefix="scoreline-bench-"))
    try:
        results = uvloop.run(_main(data, rounds=arguments.rounds, seconds=arguments.seconds))
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(results, default=asdict, indent=2) + "\n")
    except subprocess.CalledProcessError as failed:
        sys.exit(failed.stderr)
    finally:
        shutil.rmtree(data)


if __name__ == "__main__":
    main()
