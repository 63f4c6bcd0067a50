"""The commands `python -m devstack up`, `down`, `reset` and `token`, which the Makefile calls."""

import argparse
import asyncio
import http.client
import json
import os
import pwd
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

from devstack.addresses import Address
from devstack.credentials import Credentials
from devstack.lock import AlreadyRunning, FolderLock
from devstack.processes import StackError, stop_leftovers
from devstack.system import System
from devstack.terminal import Terminal
from devstack.topology import SECRETS

DATA = Path(__file__).parent.parent / ".data"

_POLL_SECONDS = 0.05
_DOWN_WITHIN_SECONDS = 150

_DIRECTIONS = """\
ready. Ctrl-C or `make down` stops it.

  the page         {url}
  the API          {url}/docs
  operators        {url}/ops, with the token that `make token` prints
  open events      curl -s '{host}/events?phase=open&limit=3'"""

_RATE = """
  rate one of them curl -s -H 'Content-Type: application/json' -d '{{"score": 5}}' {host}/events/{event_id}/score"""


async def up(data: Path, terminal: Terminal) -> int:
    """Runs the system until a signal stops it. Returns the exit code."""
    _must_be_owned(data)
    system = System(
        data,
        http=_address("SCORE_MAKER_PORT", f"{os.environ.get('SCORE_MAKER_HOST') or '127.0.0.1'}:", "8002"),
        grpc=_address("LINE_PROVIDER_LISTEN", "", "127.0.0.1:50051"),
        say=terminal.say,
    )
    running = asyncio.create_task(_run(system, terminal))
    interrupts = 0

    def stop(number: signal.Signals) -> None:
        nonlocal interrupts
        interrupts += number is signal.SIGINT
        if interrupts > 1:
            system.kill()
        elif not running.cancelling():
            terminal.say("stopping …")
            running.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup makes the process ignore SIGHUP so that it outlives its terminal; a handler would undo that.
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop, number)
    with suppress(asyncio.CancelledError):
        await running
    if interrupts > 1:
        terminal.say("killed")
        return 128 + signal.SIGINT
    terminal.say("stopped; the next `make up` continues with the same data")
    return 0


async def _run(system: System, terminal: Terminal) -> None:
    followers = [asyncio.create_task(terminal.follow(service)) for service in system.services]
    try:
        async with system:
            terminal.say(await asyncio.to_thread(_directions, system.http))
            await system.supervise()
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.wait(followers)


async def down(data: Path, terminal: Terminal) -> None:
    """Stops the system that runs on the folder, or the processes that a dead supervisor has left."""
    if not data.exists():
        terminal.say("nothing is running")
        return
    lock = FolderLock(data)
    stopped = await _stop_supervisor(lock, terminal)
    leftovers = await stop_leftovers(data)
    for name in leftovers:
        terminal.say(f"stopped {name}, which an earlier run had left behind")
    terminal.say("stopped" if stopped or leftovers else "nothing is running")


async def token(data: Path, _: Terminal) -> None:
    """Prints the operators' token for /ops, and nothing else, so that a script can use it."""
    secrets = data / SECRETS
    if not secrets.exists():
        raise StackError("There is no token yet: `make up` generates one.")
    print(Credentials.of(secrets).operators_token)


async def reset(data: Path, terminal: Terminal) -> None:
    """Stops the system and removes all its data."""
    await down(data, terminal)
    if data.exists():
        shutil.rmtree(data)
    terminal.say("removed all data")


async def _stop_supervisor(lock: FolderLock, terminal: Terminal) -> bool:
    """Stops a running supervisor and acquires the lock, which the supervisor releases last.

    Returns whether there was a supervisor. Kills one that takes longer than _DOWN_WITHIN_SECONDS.
    """
    number, signalled = signal.SIGTERM, False
    give_up = asyncio.get_running_loop().time() + _DOWN_WITHIN_SECONDS
    while True:
        try:
            lock.acquire()
        except AlreadyRunning as other:
            if asyncio.get_running_loop().time() > give_up:
                number, signalled = signal.SIGKILL, False
            if other.pid is not None and not signalled:
                terminal.say(f"stopping process {other.pid} …")
                os.kill(other.pid, number)
                signalled = True
            await asyncio.sleep(_POLL_SECONDS)
        else:
            return signalled


def _must_be_owned(data: Path) -> None:
    if not data.exists() or (owner := data.stat().st_uid) == os.geteuid():
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"uid {owner}"
    raise StackError(f"{data} belongs to {name}: run this as {name}, or let {name} run `make reset` first.")


def _address(variable: str, prefix: str, default: str) -> Address:
    try:
        return Address.parse(prefix + (os.environ.get(variable) or default))
    except ValueError as error:
        raise StackError(f"{variable}: {error}.") from None


def _directions(address: Address) -> str:
    """The URLs to open, and a command to copy that submits a rating if an event is open."""
    local = address.local
    host = f"localhost:{local.port}" if local.host == "127.0.0.1" else str(local)
    directions = _DIRECTIONS.format(url=f"http://{host}", host=host)
    connection = http.client.HTTPConnection(*local, timeout=5)
    try:
        connection.request("GET", "/events?phase=open&limit=1")
        event_id = json.load(connection.getresponse())["events"][0]["event_id"]
    except (OSError, http.client.HTTPException, ValueError, LookupError):
        return directions
    finally:
        connection.close()
    return directions + _RATE.format(host=host, event_id=event_id)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m devstack", description="Runs Scoreline on embedded servers.")
    parser.add_argument("command", choices=["up", "down", "reset", "token"])
    parser.add_argument("--data", type=Path, default=DATA, help="the folder for all data, logs and credentials")
    arguments = parser.parse_args()
    terminal = Terminal(sys.stdout)
    command = {"up": up, "down": down, "reset": reset, "token": token}[arguments.command]
    try:
        sys.exit(asyncio.run(command(arguments.data.resolve(), terminal)))
    except StackError as error:
        sys.exit(f"scoreline: {error}")
    except PermissionError as error:
        sys.exit(f"scoreline: {error.filename or arguments.data} belongs to another user ({error.strerror}).")
