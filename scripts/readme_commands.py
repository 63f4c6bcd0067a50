"""Runs the README's commands exactly as written, against a running `make up`.

The commands are the `sh` blocks after the marker. They run in order, in one shell, in an empty folder. Each command and
each curl request must succeed; if the README shows a problem as the answer, the request must fail instead.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
MARKER = "<!-- ci: these commands are run as they stand here against `make up` -->"

_BLOCK = re.compile(r"^```sh\n(?P<commands>.*?)^```\n(?:^```json\n(?P<answer>.*?)^```)?", re.MULTILINE | re.DOTALL)
_ERROR_STATUS = re.compile(r'"status": ?[45]\d\d')
_PREAMBLE = """\
set -euo pipefail
curl() { local status=0; command curl --fail-with-body --show-error "$@" || status=$?; echo; return $status; }
"""
_CURL_GOT_AN_HTTP_ERROR = 22


def is_problem(answer: str | None) -> bool:
    return answer is not None and _ERROR_STATUS.search(answer) is not None


def script(readme: str) -> str:
    """Returns the commands of all blocks as one script for bash."""
    blocks = list(_BLOCK.finditer(readme, readme.index(MARKER)))
    parts = [_PREAMBLE]
    for block in blocks:
        commands = block["commands"]
        parts.append(f"cat <<'COMMANDS'\n{commands}COMMANDS\n")
        if is_problem(block["answer"]):
            parts.append(f"status=0\n(\n{commands}) || status=$?\n[ $status = {_CURL_GOT_AN_HTTP_ERROR} ]\n")
        else:
            parts.append(commands)
    return "".join(parts)


def main() -> None:
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(["bash", "-c", script(README.read_text())], cwd=empty, check=False)  # noqa: S607
    if done.returncode:
        sys.exit(f"The last README command above failed with exit code {done.returncode}.")


if __name__ == "__main__":
    main()
