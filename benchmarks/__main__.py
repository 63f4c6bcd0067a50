"""How fast the system is, each figure beside another of the same run: `make bench`.

Machines differ, and are never quiet; what two things measured in turns have to do with each other holds nonetheless.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from benchmarks import chart, growth, http, loop, relay, wrk
from benchmarks.http import GET_EVENTS, NOOP, PGBENCH, POST_SCORE, POST_SCORE_RELAYED, SCORE_MAKER


@dataclass(frozen=True, slots=True)
class Comparison:
    """`ratio` is `value` by `other`, and should be `at_least` or `at_most` that, where something is wanted of it."""

    what: str
    value: float
    unit: str
    against: str
    other: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def ratio(self) -> float:
        return self.value / self.other

    @property
    def wanted(self) -> str:
        if self.at_least is not None:
            return f"≥ {self.at_least:.3g}"
        return f"≤ {self.at_most:g}" if self.at_most is not None else ""

    def bar(self) -> chart.Bar | None:
        """For the chart, where something is wanted of it."""
        name = f"{self.what} / {self.against}"
        if self.at_least is not None:
            return chart.Bar(name, self.ratio, self.at_least, self.ratio >= self.at_least)
        if self.at_most is not None:
            return chart.Bar(name, self.ratio, self.at_most, self.ratio <= self.at_most)
        return None


async def _compare_http(data: Path, rounds: int, seconds: float) -> list[Comparison]:
    of = await http.measure(data, rounds=rounds, seconds=seconds)

    def against_noop(requests: str, at_least: float | None = None) -> Iterator[Comparison]:
        ours, noop = of[requests][SCORE_MAKER], of[requests][NOOP]
        yield Comparison(requests, ours.per_second, "/s", "a handler that does nothing", noop.per_second, at_least)
        yield Comparison(f"{requests}: processor", ours.cpu_microseconds, "µs", "the same", noop.cpu_microseconds)
        yield Comparison(f"{requests}: p50", ours.p50, "ms", "the same", noop.p50)
        yield Comparison(f"{requests}: p99", ours.p99, "ms", "the same", noop.p99)

    ratings, inserts = of[POST_SCORE][SCORE_MAKER].per_second, of[POST_SCORE][PGBENCH].per_second
    return [
        *against_noop(GET_EVENTS, 0.9),
        *against_noop(POST_SCORE, 0.8),
        Comparison(POST_SCORE, ratings, "/s", "pgbench: two inserts per transaction", inserts),
        *against_noop(POST_SCORE_RELAYED),
    ]


async def _compare_relay(data: Path, rounds: int) -> list[Comparison]:
    paces = await relay.measure(data, rounds=rounds)
    ours = paces.pop(relay.RELAY)
    return [
        Comparison("relayed and settled", ours, "/s", name, pace, 20 if name == relay.ONE_JOB_EACH else 1)
        for name, pace in paces.items()
    ]


async def _compare_loop(data: Path, seconds: float) -> tuple[list[Comparison], dict[str, float]]:
    of = await loop.measure(data, seconds=seconds)
    floor = "two commits and an RPC"
    return [
        Comparison("accepted to confirmed, idle: p50", of.idle.p50, "ms", floor, of.floor.p50),
        Comparison("accepted to confirmed, idle: p99", of.idle.p99, "ms", floor, of.floor.p99, at_most=5),
        Comparison("accepted to confirmed, half load: p50", of.half.ways.p50, "ms", floor, of.floor.p50),
        Comparison("accepted to confirmed, half load: p99", of.half.ways.p99, "ms", floor, of.floor.p99, at_most=20),
        Comparison("accepted to confirmed, full load: p99", of.full.ways.p99, "ms", floor, of.floor.p99),
        Comparison("half load", of.half.per_second, "/s", "full load", of.full.per_second),
        Comparison("80 % load", of.four_fifths.per_second, "/s", "full load", of.full.per_second),
        Comparison("80 % load: not settled at its end", of.four_fifths.left, "", "a batch", relay.BATCH, at_most=1),
    ], of.memory


async def _compare_growth(data: Path, rounds: int, stored: int) -> list[Comparison]:
    return [
        Comparison(what, share, "", "the same, small and spread", 1, at_least=1 / 1.3)
        for what, share in (await growth.measure(data, rounds=rounds, stored=stored)).items()
    ]


async def _compare(
    data: Path, *, rounds: int, seconds: float, stored: int
) -> tuple[list[Comparison], dict[str, float]]:
    found: list[Comparison] = []

    def show(comparisons: list[Comparison]) -> None:
        found.extend(comparisons)
        for each in comparisons:
            figure = f"{each.value:>9,.5g} {each.unit:<3} {each.ratio:>7.2f} {each.wanted:>8}"
            print(f"{each.what:<60} {figure}   {each.against}")

    print(f"{'':<60} {'':>9} {'':<3} {'ratio':>7} {'wanted':>8}   to")
    show(await _compare_http(data / "http", rounds, seconds))
    show(await _compare_relay(data / "relay", rounds))
    loop_figures, memory = await _compare_loop(data / "loop", 2 * seconds)
    show(loop_figures)
    for process, mebibytes in memory.items():
        print(f"{'memory: ' + process:<60} {mebibytes:>9.0f} MiB")
    show(await _compare_growth(data / "growth", rounds, stored))
    return found, memory


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--stored", type=int, default=1_000_000, help="ratings that the large system has stored")
    parser.add_argument("--to", type=Path, default=Path("build"), help="the folder for benchmarks.json and .svg")
    arguments = parser.parse_args()
    if not wrk.is_installed():
        sys.exit("wrk is not installed; on Debian, `apt-get install wrk` installs it.")
    data = Path(tempfile.mkdtemp(prefix="scoreline-bench-"))
    for part in ("http", "relay", "loop", "growth"):
        (data / part).mkdir()
    try:
        comparisons, memory = uvloop.run(
            _compare(data, rounds=arguments.rounds, seconds=arguments.seconds, stored=arguments.stored)
        )
    finally:
        shutil.rmtree(data)
    arguments.to.mkdir(exist_ok=True)
    figures = [asdict(each) | {"ratio": each.ratio} for each in comparisons]
    written = json.dumps({"comparisons": figures, "memory_mebibytes": memory}, indent=2, ensure_ascii=False)
    (arguments.to / "benchmarks.json").write_text(written + "\n")
    chart.draw([bar for each in comparisons if (bar := each.bar())], arguments.to / "benchmarks.svg")


if __name__ == "__main__":
    main()
