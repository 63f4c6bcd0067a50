"""Creates the environment in .venv with nothing but python3: Poetry in .bootstrap, then the locked packages.

Usage: `python3 scripts/bootstrap.py` installs the locked packages, and does nothing if they are installed already;
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
    """The URL of the package index that pip uses: from its environment, its configuration, or else its default."""
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
    """Runs Poetry in the folder. Shows its output as it comes, or with `shown=False` only if Poetry fails.

    Raises CalledProcessError if Poetry fails.
    """
    # Poetry requests JSON pages of its default index, which mirrors lack; with the plugin it uses pip's index like pip.
    environment = os.environ | {
        "POETRY_PYPI_MIRROR_URL": os.environ.get("POETRY_PYPI_MIRROR_URL") or package_index(),
        "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        "POETRY_VIRTUALENVS_CREATE": str(folder == ROOT).lower(),
        # Without this, Poetry would take the first Python in PATH instead of the one that runs this script.
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
    # Users who cannot write the bytecode here would otherwise compile every module at each start.
    compile_all = [str(ENVIRONMENT / "bin" / "python"), "-m", "compileall", "-q", "-j", "0", str(ENVIRONMENT / "lib")]
    subprocess.run(compile_all, check=False, stdout=subprocess.DEVNULL)
    stamp.write_text(wanted)


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - any python3 may run this script
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
