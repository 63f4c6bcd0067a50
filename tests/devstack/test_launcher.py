"""`python -m devstack`, which `make up`, `make down` and `make reset` call, run with the real services."""

import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from devstack.addresses import Address

ROOT = Path(__file__).parent.parent.parent
# Longer than anything takes; it only bounds how long a failing test runs.
PATIENCE_SECONDS = 60


def eventually(condition: Callable[[], object], otherwise: Callable[[], str]) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < give_up, otherwise()
        time.sleep(0.05)


class Launcher:
    """Runs the command line on the given data folder, on free ports, in its own process group as a shell would."""

    def __init__(self, data: Path, *, user: str | None = None) -> None:
        self.data = data
        self.http = Address.free()
        self.environment = {"SCORE_MAKER_PORT": str(self.http.port), "LINE_PROVIDER_LISTEN": str(Address.free())}
        self._user: dict[str, Any] = {}
        if user is not None:
            account = pwd.getpwnam(user)
            self._user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._output = data.with_name("output")
        self._up: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        if self._up is not None and self._up.poll() is None:
            self.call("down")
            self._up.wait(PATIENCE_SECONDS)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._up is not None
        return self._up

    @property
    def output(self) -> str:
        return self._output.read_text()

    def up(self) -> None:
        """Starts the system and waits until the launcher reports that it is ready."""
        with self._output.open("wb") as output:
            self._up = subprocess.Popen(
                self._command("up"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env=os.environ | self.environment,
                process_group=0,
                **self._user,
            )
        self.await_output("scoreline: ready")

    def await_output(self, text: str) -> None:
        eventually(
            lambda: text in self.output or self.process.poll() is not None, lambda: f"no {text!r} in:\n{self.output}"
        )
        assert text in self.output, self.output

    def call(self, command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command until it ends, as from another terminal."""
        return subprocess.run(
            self._command(command),
            cwd=ROOT,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
            **self._user,
        )

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Any:
        connection = http.client.HTTPConnection(*self.http, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", path, headers=headers or {})
            return json.load(connection.getresponse())
        finally:
            connection.close()

    def serves(self) -> bool:
        with suppress(OSError, ValueError):
            return bool(self.get("/events?limit=1")["events"])
        return False

    def services(self) -> dict[str, int]:
        """The pid of each running part, by its name."""
        return {path.stem: json.loads(path.read_text())["pid"] for path in self.data.glob("*.pid")}

    def left_running(self) -> list[str]:
        """All processes whose working folder is in the data folder, whoever started them."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                folder = Path(process.cwd())
                if process.status() != psutil.STATUS_ZOMBIE and self.data in (folder, *folder.parents):
                    found.append(f"{process.pid} {process.name()}")
        return found

    def _command(self, command: str) -> list[str]:
        return [sys.executable, "-m", "devstack", command, "--data", str(self.data)]


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path / "data")
    yield launcher
    launcher.close()


@pytest.mark.parametrize("variable", ["SCORE_MAKER_PORT", "LINE_PROVIDER_LISTEN"])
def test_a_port_in_use_is_reported_before_anything_starts_with_the_variable_that_changes_it(
    variable: str, launcher: Launcher
) -> None:
    address = Address.parse(f"127.0.0.1:{launcher.environment[variable].rpartition(':')[2]}")
    with socket.create_server(address):
        refused = launcher.call("up")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert f"Port {address.port}" in refused.stderr
    assert f"`{variable}=" in refused.stderr
    assert not (launcher.data / "score_maker_postgres").exists()


@pytest.mark.parametrize(
    ("variable", "value"), [("SCORE_MAKER_PORT", "http"), ("SCORE_MAKER_PORT", "70000"), ("LINE_PROVIDER_LISTEN", "1")]
)
def test_an_invalid_port_is_reported_in_one_sentence(variable: str, value: str, launcher: Launcher) -> None:
    launcher.environment[variable] = value
    refused = launcher.call("up")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"scoreline: {variable}: ")
    assert refused.stderr.count("\n") == 1


def test_down_succeeds_when_nothing_runs(launcher: Launcher) -> None:
    down = launcher.call("down")
    assert (down.returncode, down.stdout, down.stderr) == (0, "scoreline: nothing is running\n", "")


def test_there_is_no_token_before_the_first_run(launcher: Launcher) -> None:
    token = launcher.call("token")
    assert (token.returncode, token.stdout) == (1, "")
    assert token.stderr == "scoreline: There is no token yet: `make up` generates one.\n"


def test_one_supervisor_per_folder_restarts_dead_processes_and_ctrl_c_stops_it_cleanly(launcher: Launcher) -> None:
    launcher.up()
    assert f"http://localhost:{launcher.http.port}/docs" in launcher.output
    assert f"http://localhost:{launcher.http.port}/ops, with the token that `make token` prints" in launcher.output
    token = launcher.call("token").stdout.strip()
    saga = launcher.get("/ops/saga", {"Authorization": f"Bearer {token}"})
    assert (saga["services"]["line_provider"], saga["manages_events"]) == ("serving", True)
    assert token not in launcher.output
    assert len(launcher.get("/events?limit=100")["events"]) == 100
    assert "\x1b" not in launcher.output

    second = launcher.call("up")
    assert second.returncode == 1
    assert f"already running here, as process {launcher.process.pid}" in second.stderr

    before = launcher.services()
    for name in ("score_maker", "score_maker_postgres"):
        os.kill(before[name], signal.SIGKILL)
        launcher.await_output(f"{name} was killed by SIGKILL; it starts again")
    eventually(launcher.serves, lambda: launcher.output)
    after = launcher.services()
    assert {name for name in before if before[name] != after[name]} == {"score_maker", "score_maker_postgres"}

    os.killpg(launcher.process.pid, signal.SIGINT)
    assert launcher.process.wait(PATIENCE_SECONDS) == 0
    assert launcher.output.splitlines()[-1].startswith("scoreline: stopped;")
    assert "Traceback" not in launcher.output
    assert launcher.left_running() == []


def test_after_a_kill_the_next_supervisor_cleans_up_and_continues_and_another_terminal_stops_it(
    launcher: Launcher,
) -> None:
    launcher.up()
    secrets = (launcher.data / "secrets.json").read_text()
    before = [event["event_id"] for event in launcher.get("/events?limit=100")["events"]]
    # The others receive their stop signal when the supervisor dies. This one cannot handle it while it is suspended.
    held = psutil.Process(launcher.services()["score_maker"])
    held.suspend()
    launcher.process.kill()
    launcher.process.wait()
    assert any(str(held.pid) in left for left in launcher.left_running())
    held.resume()

    launcher.up()
    assert (launcher.data / "secrets.json").read_text() == secrets
    assert [event["event_id"] for event in launcher.get("/events?limit=100")["events"]] == before
    assert launcher.services()["score_maker"] != held.pid

    down = launcher.call("down")
    assert down.returncode == 0, down.stderr
    assert launcher.process.wait(PATIENCE_SECONDS) == 0
    assert launcher.left_running() == []

    assert launcher.call("reset").returncode == 0
    assert not launcher.data.exists()


def test_a_second_ctrl_c_kills(launcher: Launcher) -> None:
    launcher.up()
    psutil.Process(launcher.services()["score_maker"]).suspend()
    os.killpg(launcher.process.pid, signal.SIGINT)
    launcher.await_output("stopping")
    assert launcher.process.poll() is None
    os.killpg(launcher.process.pid, signal.SIGINT)
    assert launcher.process.wait(PATIENCE_SECONDS) == 130
    assert launcher.left_running() == []


@pytest.fixture
def nobodys_launcher() -> Iterator[Launcher]:
    """Run by an ordinary user, on a folder whose path has spaces and is too long for a socket."""
    if os.geteuid() != 0:
        pytest.skip("the other tests already run as an ordinary user")
    account = pwd.getpwnam("nobody")
    try:
        subprocess.run([sys.executable, "-c", "import devstack.system"], cwd=ROOT, user=account.pw_uid, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"an ordinary user cannot read this checkout or run its Python: {error}")
    home = Path(tempfile.mkdtemp(prefix="an ordinary user's checkout ")) / ("long" * 30)
    home.mkdir()
    for folder in (home, home.parent):
        os.chown(folder, account.pw_uid, account.pw_gid)
    launcher = Launcher(home / "data", user="nobody")
    yield launcher
    launcher.close()
    shutil.rmtree(home.parent)


def test_an_ordinary_user_can_run_it_and_then_no_other_user_on_that_folder(
    nobodys_launcher: Launcher,
) -> None:
    nobodys_launcher.up()
    assert nobodys_launcher.serves()
    nobodys_launcher.process.send_signal(signal.SIGHUP)
    assert nobodys_launcher.process.wait(PATIENCE_SECONDS) == 0
    assert nobodys_launcher.left_running() == []

    roots = Launcher(nobodys_launcher.data)
    refused = roots.call("up")
    roots.close()
    assert refused.returncode == 1
    assert "belongs to nobody" in refused.stderr
    assert refused.stderr.count("\n") == 1
