"""`python -m tests.torture`, which `make torture` calls."""

import argparse
import os
import random
import resource
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import uvloop

# Otherwise gRPC's core logs a line for each process that is started. It reads this as it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from tests.torture.arena import Arena
from tests.torture.raters import Habits
from tests.torture.report import report
from tests.torture.run import Outcome, Plan, run

# The share of turns after which a rater leaves: half of them are gone after fourteen.
_FAREWELLS = 0.05


def _say(sentence: str) -> None:
    print(f"torture: {sentence}", flush=True)


async def _torture(plan: Plan, data: Path) -> Outcome:
    async with Arena(data, say=_say) as arena:
        return await run(arena, plan, _say)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture", description="Breaks everything, and checks everything."
    )
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--raters", type=int, default=160)
    parser.add_argument("--faults-a-minute", type=float, default=40, help="each one costs the raters some seconds")
    parser.add_argument(
        "--calm",
        action="store_true",
        help="break nothing, and let new raters replace old ones, so that anything that leaks grows",
    )
    arguments = parser.parse_args()
    plan = Plan(
        seed=arguments.seed,
        seconds=arguments.minutes * 60,
        raters=arguments.raters,
        habits=Habits(waits=0.2),
        faults_a_minute=arguments.faults_a_minute,
    )
    if arguments.calm:
        plan = replace(plan, faults=(), habits=replace(plan.habits, farewells=_FAREWELLS))
    _say(f"seed {plan.seed}, {arguments.minutes:g} min; SEED={plan.seed} replays it")
    data = Path(tempfile.mkdtemp(prefix="scoreline-torture-"))
    # A process that crashes leaves a core, if the system writes any.
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
    outcome = uvloop.run(_torture(plan, data))
    print(report(outcome))
    if outcome.violations:
        sys.exit(f"torture: failed; the logs of all processes are in {data}")
    if outcome.crashes:
        print(f"torture: the cores of what crashed, and all logs, are in {data}")
    else:
        shutil.rmtree(data)


if __name__ == "__main__":
    main()
