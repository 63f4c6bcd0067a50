"""`arq-worker` with a fault: python -m tests.arq_worker.faulty_worker FAULT COMMAND …"""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any

from arq_worker import cli, periodic, process
from arq_worker.line_provider_client import LineProviderClient
from arq_worker.reconcile import Reconciler
from arq_worker.relay import Relay
from score_maker.saga import outbox
from scoreline_common import heartbeat

FAULTS: dict[str, Callable[[], None]] = {}

# What a faulty part prints when it works again.
WORKS_AGAIN = "works again after the fault"
INJECTED = "injected by the test"
HANGS_FROM_ITS_LOOP = "the_loop_hangs_here"


def _fault(inject: Callable[[], None]) -> Callable[[], None]:
    FAULTS[inject.__name__] = inject
    return inject


def _failing_once(work: Callable[..., Any]) -> Callable[..., Any]:
    """Returns work that raises at its first call, and prints WORKS_AGAIN after its second."""
    calls = 0

    async def fail_once(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError(INJECTED)
        result = await work(*arguments, **named)
        if calls == 2:
            print(WORKS_AGAIN, file=sys.stderr, flush=True)
        return result

    return fail_once


async def _end(*_arguments: Any, **_named: Any) -> None:
    """A task that returns although it should run until the process stops."""


@_fault
def relay_fails_once() -> None:
    Relay.drain = _failing_once(Relay.drain)  # type: ignore[method-assign]


@_fault
def measuring_fails_once() -> None:
    process.MEASURE_SECONDS = 1
    outbox.overview = _failing_once(outbox.overview)


@_fault
def reconcile_fails_once() -> None:
    periodic.RECONCILE_SECONDS = frozenset(range(60))
    Reconciler.run = _failing_once(Reconciler.run)  # type: ignore[method-assign]


@_fault
def relay_ends() -> None:
    Relay.run = _end  # type: ignore[method-assign, assignment]


@_fault
def measuring_ends() -> None:
    process.__dict__["_keep_measuring"] = _end


@_fault
def schedule_ends() -> None:
    process.__dict__["keep_schedule"] = _end


@_fault
def listen_ends_while_a_batch_is_in_flight() -> None:
    in_flight = asyncio.Event()
    apply = LineProviderClient.apply

    async def apply_slowly(*arguments: Any) -> Any:
        in_flight.set()
        await asyncio.sleep(0.5)
        return await apply(*arguments)

    async def end_meanwhile(*_arguments: Any, **_named: Any) -> None:
        await in_flight.wait()

    LineProviderClient.apply = apply_slowly  # type: ignore[method-assign, assignment]
    process.__dict__["listen"] = end_meanwhile


@_fault
def loop_hangs() -> None:
    heartbeat.HUNG_AFTER_SECONDS = 10

    async def the_loop_hangs_here(*_arguments: Any) -> None:
        await asyncio.sleep(1)
        time.sleep(600)  # noqa: ASYNC251 - this is the fault

    assert the_loop_hangs_here.__name__ == HANGS_FROM_ITS_LOOP
    process.__dict__["_keep_measuring"] = the_loop_hangs_here


if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    cli.main()
