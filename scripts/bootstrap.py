"""Makes the environment in .venv from nothing but python3: Poetry apart in .bootstrap, then the locked packages.

Usage: `python3 scripts/bootstrap.py` installs what the lock names, and does nothing where that was done before;
`python3 scripts/bootstrap.py poetry ARGS...` runs Poetry in the current folder.
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BOOTSTRAP = ROOT / ".bootstrap"
ENVIRONMENT = ROOT / ".venv"
POETRY = BOOTSTRAP / "bin" / "poetry"
REQUIREMENTS = ("poetry==2.5.*", "poetry-plugin-pypi-mirror==0.6.*")
PROJECTS = (".", "contracts", "common", "line_provider", "score_maker", "arq_worker")


def say(sentence: str) -> None:
    print(f"scoreline: {sentence}", file=sys.stderr, flush=True)


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join((sys.version.encode(), *parts))).hexdigest()


def ensure_poetry() -> None:
    stamp = BOOTSTRAP / "installed"
    wanted = digest(" ".join(REQUIREMENTS).encode())
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    say("installing Poetry into .bootstrap …")
    venv.create(BOOTSTRAP, clear=True, with_pip=True)
    pip = [str(BOOTSTRAP / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "-qq"]
    subprocess.run([*pip, "install", *REQUIREMENTS], check=True)
    stamp.write_text(wanted)


def package_index() -> str:
    """The index that pip uses here: its environment, its configuration, else its own default."""
    if index := os.environ.get("PIP_INDEX_URL"):
        return index
    python = str(BOOTSTRAP / "bin" / "python")
    configured = subprocess.run(
        [python, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    if configured.returncode == 0:
        return configured.stdout.strip()
    default = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    return subprocess.run([python, "-c", default], capture_output=True, text=True, check=True).stdout.strip()


def poetry(arguments: list[str], folder: Path, *, shown: bool = True) -> None:
    """Runs Poetry; what it says is shown as it says it, or else only where it fails."""
    # Poetry asks its default index for JSON pages that mirrors lack; the plugin has it ask pip's index as pip does.
    environment = os.environ | {
        "POETRY_PYPI_MIRROR_URL": os.environ.get("POETRY_PYPI_MIRROR_URL") or package_index(),
        "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        "POETRY_VIRTUALENVS_CREATE": str(folder == ROOT).lower(),
        # The Python that runs this, rather than the first one in PATH.
        "POETRY_VIRTUALENVS_USE_POETRY_PYTHON": "true",
        "POETRY_KEYRING_ENABLED": "false",
    }
    environment.pop("VIRTUAL_ENV", None)
    command = [str(POETRY), "--no-interaction", *arguments]
    output = None if shown else subprocess.PIPE
    done = subprocess.run(command, check=False, cwd=folder, env=environment, stdout=output, stderr=output, text=True)
    if done.returncode:
        print(done.stdout or "", done.stderr or "", sep="", end="", file=sys.stderr)
        raise subprocess.CalledProcessError(done.returncode, command)


def ensure_environment() -> None:
    stamp = ENVIRONMENT / "installed"
    wanted = digest(
        (ROOT / "poetry.lock").read_bytes(), *((ROOT / name / "pyproject.toml").read_bytes() for name in PROJECTS)
    )
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    say("installing the locked packages into .venv …")
    poetry(["install"], ROOT, shown=False)
    # Whoever may not write here (another user, or one who forbids it) would compile all of it anew at each start.
    compile_all = [str(ENVIRONMENT / "bin" / "python"), "-m", "compileall", "-q", "-j", "0", str(ENVIRONMENT / "lib")]
    subprocess.run(compile_all, check=False, stdout=subprocess.DEVNULL)
    stamp.write_text(wanted)


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - this one runs on whatever is there
        sys.exit(f"Scoreline needs Python 3.11 or later; this is {sys.version.split()[0]}. Set PYTHON=... for make.")
    try:
        ensure_poetry()
        if sys.argv[1:2] == ["poetry"]:
            poetry(sys.argv[2:], Path.cwd())
        else:
            ensure_environment()
    except subprocess.CalledProcessError as error:
        sys.exit(f"scoreline: `{' '.join(map(str, error.cmd[:4]))} …` failed with exit code {error.returncode}.")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
