"""The plugin that reports skipped tests, in runs of pytest within these tests."""

from pathlib import Path

import pytest

from tests.support.skips import ALLOWED_SKIPS, read_allowed

ROOT = Path(__file__).parents[2]

SKIPPING = """
    import pytest

    def test_that_runs():
        pass

    @pytest.mark.skipif(True, reason="there is no browser")
    def test_of_a_page():
        pass

    @pytest.fixture
    def history():
        pytest.skip("the history is not here")

    @pytest.mark.parametrize("number", [1, 2])
    def test_of_an_upgrade(history, number):
        pass
"""
ALLOWED = """
    [[allowed]]
    test = "test_skipping.py::{test}"
    skipped_because = "{because}"
    allowed_because = "this is a test of the plugin"
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with one test that runs and three that are skipped; not under CI unless the test sets it."""
    # Loads only the plugin under test, because the others bring their own settings and fixtures.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyfile(test_skipping=SKIPPING)
    (pytester.path / "tests").mkdir()
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "tests.support.skips", "-p", "no:cacheprovider", *arguments)


def allow(project: pytest.Pytester, *skips: tuple[str, str]) -> None:
    entries = "".join(ALLOWED.format(test=test, because=because) for test, because in skips)
    (project.path / "tests" / "allowed_skips.toml").write_text(entries)


def test_a_run_outside_ci_is_green_and_ends_with_each_skipped_test_and_its_reason(
    project: pytest.Pytester,
) -> None:
    result = run(project)
    assert result.ret == 0
    result.assert_outcomes(passed=1, skipped=3)
    lines = [line for line in result.outlines if line]
    assert lines[-3:-1] == [
        "not run here: test_skipping.py::test_of_a_page because there is no browser",
        "not run here: 2 tests of test_skipping.py because the history is not here",
    ]


@pytest.mark.parametrize("ci", ["true", "1", "woodpecker"])
def test_a_skipped_test_fails_under_ci(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str) -> None:
    monkeypatch.setenv("CI", ci)
    result = run(project)
    assert result.ret == 1
    # A test that is skipped by a fixture fails in its set-up.
    result.assert_outcomes(passed=1, errors=3)
    result.stdout.fnmatch_lines(["*test_of_a_page was skipped: there is no browser. Under CI every test runs*"])


@pytest.mark.parametrize("ci", ["false", "0", ""])
def test_ci_can_be_switched_off(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str) -> None:
    monkeypatch.setenv("CI", ci)
    assert run(project).ret == 0


def test_a_skip_that_is_allowed_for_its_reason_does_not_fail_under_ci(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    allow(project, ("test_of_a_page", "no browser"), ("test_of_an_upgrade", "the history is not here"))
    result = run(project)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["not run here: test_skipping.py::test_of_a_page because there is no browser"])


def test_a_skip_that_is_allowed_for_another_reason_fails_under_ci(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    allow(project, ("test_of_a_page", "it is Sunday"), ("test_of_an_upgrade", "the history is not here"))
    result = run(project)
    assert result.ret == 1
    result.assert_outcomes(passed=1, skipped=2, errors=1)


def test_a_module_that_skips_itself_fails_under_ci(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    project.makepyfile(test_optional='import pytest\nhelm = pytest.importorskip("no_such_module", reason="no Helm")\n')
    assert run(project, "test_optional.py").ret == pytest.ExitCode.NO_TESTS_COLLECTED
    monkeypatch.setenv("CI", "true")
    result = run(project, "test_optional.py")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*test_optional.py was skipped: no Helm. Under CI every test runs*"])


def test_an_expected_failure_does_not_count_as_a_skip(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    project.makepyfile(
        test_xfail="import pytest\n@pytest.mark.xfail(reason='known')\ndef test_known():\n    raise ValueError\n"
    )
    result = run(project, "test_xfail.py")
    assert result.ret == 0
    result.assert_outcomes(xfailed=1)
    result.stdout.no_fnmatch_line("not run here*")


@pytest.mark.parametrize(
    ("entry", "trouble"),
    [
        ('test = "test_skipping.py"\nskipped_because = "x"', "allowed_because"),
        ('test = "test_skipping.py"\nskipped_because = "x"\nallowed_because = ""', "no key may be empty"),
        (
            'test = "test_skipping.py::test_gone"\nskipped_because = "x"\nallowed_because = "y"',
            "test_skipping.py::test_gone does not exist",
        ),
        ('test = "test_gone.py"\nskipped_because = "x"\nallowed_because = "y"', "test_gone.py does not exist"),
        ('test = "test_skipping.py"\nskipped_because = "x"\nallowed_because = "y"\nmore = 1', "more"),
    ],
)
def test_an_incomplete_or_outdated_entry_stops_the_run(project: pytest.Pytester, entry: str, trouble: str) -> None:
    (project.path / "tests" / "allowed_skips.toml").write_text(f"[[allowed]]\n{entry}\n")
    result = run(project)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{trouble}*"])


def test_every_allowed_reason_is_still_given_by_its_test() -> None:
    allowed = read_allowed(ROOT / ALLOWED_SKIPS)
    assert allowed
    for skip in allowed:
        assert skip.skipped_because in (ROOT / skip.test.partition("::")[0]).read_text(), skip
