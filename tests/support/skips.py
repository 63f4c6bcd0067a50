"""A pytest plugin that keeps a skipped test from being mistaken for one that passed.

The last lines of a run name every test that did not run, and why. Under CI (the environment variable `CI`, as all CI
services set it) such a test fails, unless tests/allowed_skips.toml allows it with a reason. So a green run there has
run every other test.

Each `[[allowed]]` of that file has three keys, none of them empty:

- `test`: a test's node id, or a file or folder for all tests in it, relative to the root of the repository;
- `skipped_because`: a part of the reason that the test itself gives, so that it may not be skipped for another one;
- `allowed_because`: why CI can do without the test.
"""

import os
import re
import tomllib
from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

ALLOWED_SKIPS = Path("tests", "allowed_skips.toml")

_SKIPS = pytest.StashKey["Skips"]()
_NO = {"", "0", "false", "no"}


@dataclass(frozen=True, slots=True)
class AllowedSkip:
    """An entry of tests/allowed_skips.toml."""

    test: str
    skipped_because: str
    allowed_because: str

    def covers(self, node_id: str, reason: str) -> bool:
        return self.skipped_because in reason and (
            node_id == self.test or node_id.startswith((f"{self.test}::", f"{self.test}[", f"{self.test}/"))
        )


class Skips:
    """The tests that did not run, and whether the run may be green without them."""

    def __init__(self, allowed: list[AllowedSkip], *, under_ci: bool) -> None:
        self.allowed = allowed
        self.under_ci = under_ci
        self.not_run: dict[str, list[str]] = defaultdict(list)

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Records a skip, and turns it into a failure if it is not allowed."""
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = _reason_of(report)
        self.not_run[reason].append(report.nodeid)
        if self.under_ci and not any(each.covers(report.nodeid, reason) for each in self.allowed):
            report.outcome = "failed"
            report.longrepr = (
                f"{report.nodeid} was skipped: {reason}. Under CI every test runs, or {ALLOWED_SKIPS} says why not."
            )


def read_allowed(file: Path) -> list[AllowedSkip]:
    """Raises pytest.UsageError if an entry is incomplete, or names a test that does not exist."""
    if not file.exists():
        return []
    root = file.parent.parent
    allowed = []
    for entry in tomllib.loads(file.read_text()).get("allowed", []):
        try:
            skip = AllowedSkip(**entry)
        except TypeError as error:
            raise pytest.UsageError(f"{file}: {entry}: {error}") from None
        if not all((skip.test, skip.skipped_because, skip.allowed_because)):
            raise pytest.UsageError(f"{file}: {entry}: no key may be empty")
        if not _exists(root, skip.test):
            raise pytest.UsageError(f"{file}: {skip.test} does not exist")
        allowed.append(skip)
    return allowed


def _exists(root: Path, test: str) -> bool:
    """Looks for the name in the file's text, because only collecting the test would reveal its parameters."""
    path, *names = test.partition("[")[0].split("::")
    if not names:
        return (root / path).exists()
    source = (root / path).read_text() if (root / path).is_file() else ""
    return all(re.search(rf"(def|class) {re.escape(name)}\b", source) for name in names)


def pytest_configure(config: pytest.Config) -> None:
    allowed = read_allowed(config.rootpath / ALLOWED_SKIPS)
    under_ci = os.environ.get("CI", "").lower() not in _NO
    config.stash[_SKIPS] = Skips(allowed, under_ci=under_ci)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.config.stash[_SKIPS].note(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Handles modules that skip themselves when imported, and so have no tests to report."""
    report = yield
    collector.config.stash[_SKIPS].note(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Generator[None, None, None]:
    """Is the outermost wrapper, so that these lines come after pytest's own summary, where nobody overlooks them."""
    yield
    not_run = config.stash[_SKIPS].not_run
    if not_run:
        terminalreporter.section("not run here", yellow=True, bold=True)
    for reason, tests in not_run.items():
        terminalreporter.line(f"not run here: {_listed(tests)} because {reason}", yellow=True)


def _reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The reason that the test gives, on one line."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return " ".join(reason.removeprefix("Skipped: ").split())


def _listed(tests: list[str]) -> str:
    """All of the tests. Several tests of one file become the file and their number."""
    by_file: dict[str, list[str]] = defaultdict(list)
    for test in tests:
        by_file[test.partition("::")[0]].append(test)
    return ", ".join(
        each[0] if len(each) == 1 else f"{len(each)} tests of {file}" for file, each in sorted(by_file.items())
    )
