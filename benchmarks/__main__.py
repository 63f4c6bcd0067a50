"""Measures how fast the system is, and compares each figure with another of the same run: `make bench`.

Machines differ and are never quiet, but the ratio of two figures that are measured in turns on one machine holds.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from pathlib import Path

import uvloop

from benchmarks import growth, http, loop, relay, wrk
from benchmarks.comparison import Comparison, heading, row
from benchmarks.http import GET_EVENTS, NOOP, PGBENCH, POST_SCORE, POST_SCORE_RELAYED, RAW_ASGI, SCORE_MAKER

PARTS = ("http", "relay", "loop", "growth")


async def _compare_http(data: Path, rounds: int, seconds: float) -> list[Comparison]:
    figures = await http.measure(data, rounds=rounds, seconds=seconds)

    def beside(anchor: str, against: str, requests: str, at_least: float | None = None) -> Iterator[Comparison]:
        ours, theirs = figures[requests][SCORE_MAKER], figures[requests][anchor]
        for what, unit, attribute, wanted in (
            (requests, "/s", "per_second", at_least),
            (f"{requests}: processor", "µs", "cpu_microseconds", None),
            (f"{requests}: p50", "ms", "p50", None),
            (f"{requests}: p99", "ms", "p99", None),
        ):
            yield Comparison(
                what=what,
                unit=unit,
                values=tuple(getattr(each, attribute) for each in ours),
                against=against,
                others=tuple(getattr(each, attribute) for each in theirs),
                at_least=wanted,
            )

    def beside_both(requests: str, at_least: float | None = None) -> Iterator[Comparison]:
        yield from beside(NOOP, "a FastAPI handler that does nothing", requests, at_least)
        yield from beside(RAW_ASGI, "a raw ASGI handler", requests)

    return [
        *beside_both(GET_EVENTS, 1.0),
        *beside_both(POST_SCORE, 0.95),
        Comparison(
            what=POST_SCORE,
            unit="/s",
            values=tuple(each.per_second for each in figures[POST_SCORE][SCORE_MAKER]),
            against="pgbench: two inserts per transaction",
            others=tuple(each.per_second for each in figures[POST_SCORE][PGBENCH]),
        ),
        *beside_both(POST_SCORE_RELAYED),
    ]


async def _compare_relay(data: Path, rounds: int) -> list[Comparison]:
    paces = await relay.measure(data, rounds=rounds)
    return [
        Comparison(
            what="relayed and settled",
            unit="/s",
            values=tuple(paces[relay.RELAY]),
            against=name,
            others=tuple(others),
            at_least=20 if name == relay.ONE_JOB_EACH else 1,
        )
        for name, others in paces.items()
        if name != relay.RELAY
    ]


async def _compare_loop(data: Path, seconds: float) -> tuple[list[Comparison], dict[str, float]]:
    of = await loop.measure(data, seconds=seconds)

    def latency(load: str, percentile: str, value: float, floor: float, at_most: float | None = None) -> Comparison:
        return Comparison(
            what=f"accepted to confirmed, {load}: {percentile}",
            unit="ms",
            values=(value,),
            against="two commits and an RPC",
            others=(floor,),
            at_most=at_most,
        )

    def throughput(load: str, per_second: float) -> Comparison:
        return Comparison(what=load, unit="/s", values=(per_second,), against="full load", others=(of.full.per_second,))

    return [
        latency("idle", "p50", of.idle.p50, of.floor.p50),
        latency("idle", "p99", of.idle.p99, of.floor.p99, at_most=5),
        latency("half load", "p50", of.half.latency.p50, of.floor.p50),
        latency("half load", "p99", of.half.latency.p99, of.floor.p99, at_most=20),
        latency("full load", "p99", of.full.latency.p99, of.floor.p99),
        throughput("half load", of.half.per_second),
        throughput("80 % load", of.four_fifths.per_second),
        Comparison(
            what="80 % load: not settled at its end",
            unit="",
            values=(of.four_fifths.unsettled,),
            against="a batch",
            others=(relay.BATCH,),
            at_most=1,
        ),
    ], of.memory


async def _compare_growth(data: Path, rounds: int, stored: int) -> list[Comparison]:
    return [
        Comparison(
            what=what,
            unit="/s",
            values=tuple(grown),
            against="the same, small and spread",
            others=tuple(small),
            at_least=1 / 1.3,
        )
        for what, grown, small in await growth.measure(data, rounds=rounds, stored=stored)
    ]


async def _compare(
    data: Path, parts: Collection[str], *, rounds: int, seconds: float, stored: int
) -> tuple[list[Comparison], dict[str, float]]:
    comparisons: list[Comparison] = []
    memory: dict[str, float] = {}
    print(heading())
    async for compared, used in _measured(data, parts, rounds=rounds, seconds=seconds, stored=stored):
        for comparison in compared:
            print(row(comparison), flush=True)
        for process, mebibytes in used.items():
            print(f"memory of {process}: {mebibytes:.0f} MiB")
        comparisons += compared
        memory |= used
    return comparisons, memory


async def _measured(
    data: Path, parts: Collection[str], *, rounds: int, seconds: float, stored: int
) -> AsyncIterator[tuple[list[Comparison], dict[str, float]]]:
    """The comparisons of each part, and the memory of the processes where the part measures it (MiB)."""
    for part in parts:
        folder = data / part
        folder.mkdir()
        match part:
            case "http":
                yield await _compare_http(folder, rounds, seconds), {}
            case "relay":
                yield await _compare_relay(folder, rounds), {}
            case "loop":
                yield await _compare_loop(folder, 2 * seconds)
            case "growth":
                yield await _compare_growth(folder, rounds, stored), {}


def _write(comparisons: Sequence[Comparison], memory: dict[str, float], folder: Path) -> None:
    # The drawing library is large, and only this step needs it.
    from benchmarks import chart  # noqa: PLC0415

    folder.mkdir(exist_ok=True)
    document = {"comparisons": [comparison.document() for comparison in comparisons], "memory_mebibytes": memory}
    (folder / "benchmarks.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    chart.draw([each for each in comparisons if each.wanted is not None], folder / "benchmarks.svg")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="the parts to measure (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each part is measured (default: 5)")
    parser.add_argument("--seconds", type=float, default=5, help="how long each measurement lasts (default: 5)")
    parser.add_argument("--stored", type=int, default=1_000_000, help="ratings that the large system stores")
    parser.add_argument("--to", type=Path, default=Path("build"), help="the folder for benchmarks.json and .svg")
    arguments = parser.parse_args()
    if not wrk.is_installed():
        sys.exit("wrk is not installed; on Debian, `apt-get install wrk` installs it.")
    data = Path(tempfile.mkdtemp(prefix="scoreline-bench-"))
    try:
        comparisons, memory = uvloop.run(
            _compare(
                data,
                arguments.only,
                rounds=arguments.rounds,
                seconds=arguments.seconds,
                stored=arguments.stored,
            )
        )
    finally:
        shutil.rmtree(data)
    _write(comparisons, memory, arguments.to)


if __name__ == "__main__":
    main()
