"""A Dockerfile's steps, done for real in folders of this machine in place of the image's.

What an engine adds (the base image, the user, the layers) is left out; the commands are those of the file.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parent.parent.parent

# What the base image is to the file: Python with pip; and Poetry, as this machine gets its packages.
# The image keeps no cache; this machine has its own.
_NOT_HERE = {"PATH", "POETRY_NO_CACHE"}
_TOOLS = ROOT / ".bootstrap" / "bin"


@dataclass
class Image:
    """Made by `built`. Commands find what the steps have installed, and run with the image's variables."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)

    def run(self, *arguments: str) -> list[str]:
        """The image's command line with these arguments, or with its own."""
        program, *rest = [*self.entrypoint, *(list(arguments) or self.command)]
        return [str(self.folder / "opt/venv/bin" / program), *rest]

    def probe(self) -> list[str]:
        program, *rest = self.healthcheck
        return [str(self.folder / "opt/venv/bin" / program), *rest]


def built(dockerfile: Path, folder: Path, package_index: str) -> Image:
    """Raises CalledProcessError, with its output, where a step fails."""
    image = Image(folder)
    arguments: dict[str, str] = {}
    work = folder
    environment = os.environ | {
        "PATH": f"{_TOOLS}{os.pathsep}{os.environ['PATH']}",
        "POETRY_PYPI_MIRROR_URL": package_index,
        "POETRY_KEYRING_ENABLED": "false",
    }
    environment.pop("VIRTUAL_ENV", None)

    def placed(text: str) -> str:
        """With the image's folders where they are here, and the file's arguments filled in."""
        text = re.sub(r"\$\{(\w+)\}", lambda match: arguments.get(match[1], match[0]), text)
        return re.sub(r"(?<![\w.])/(opt/venv|src)\b", rf"{folder}/\1", text)

    for instruction, value in _steps(dockerfile):
        match instruction:
            case "FROM":
                image.environment = {}
            case "ARG":
                name, _, default = value.partition("=")
                arguments[name] = default
            case "ENV":
                pairs = dict(pair.split("=", 1) for pair in shlex.split(placed(value)))
                # In the last stage they are for those who run the image.
                image.environment |= pairs
                environment |= {name: os.path.expandvars(pair) for name, pair in pairs.items() if name not in _NOT_HERE}
            case "WORKDIR":
                work = Path(placed(value))
                work.mkdir(parents=True, exist_ok=True)
            case "COPY" if not value.startswith("--from="):
                *sources, target = value.split()
                for source in sources:
                    _copy(ROOT / source, work / target / Path(source).name if target.endswith("/") else work / target)
            case "RUN" if "useradd" not in value:
                subprocess.run(
                    placed(value), shell=True, check=True, cwd=work, env=environment, capture_output=True, text=True
                )
            case "HEALTHCHECK":
                image.healthcheck = json.loads(value[value.index("CMD ") + 4 :])
            case "ENTRYPOINT":
                image.entrypoint = json.loads(value)
            case "CMD":
                image.command = json.loads(value)
    return image


def _steps(dockerfile: Path) -> Iterator[tuple[str, str]]:
    with dockerfile.open("rb") as file:
        for step in DockerfileParser(fileobj=file).structure:
            if step["instruction"] != "COMMENT":
                yield step["instruction"], step["value"]


def _copy(source: Path, target: Path) -> None:
    """As .dockerignore has it: the packages, and of the services nothing else than these and their locks."""
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    else:
        ignored = shutil.ignore_patterns(
            "__pycache__", "*.egg-info", "tests", "proto", ".env*", "Dockerfile", ".*_cache"
        )
        shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)


def example_settings(service: str) -> dict[str, str]:
    """What .env_example sets."""
    lines = (ROOT / service / ".env_example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
