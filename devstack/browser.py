"""The browser that the tests of the page drive.

`python -m devstack.browser` installs Chromium if no browser is installed and no permission is needed: on Debian, as
root. Elsewhere it does nothing, and the tests report that they were skipped.
"""

import os
import shutil
import subprocess
import sys

from devstack.terminal import Terminal

# All are Chromium or built from it, so that one driver works with each.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The fonts have Latin and Cyrillic letters, which a bare machine lacks.
PACKAGES = ("chromium", "fonts-dejavu-core")


def installed_browser() -> str | None:
    """The path of an installed browser that the tests can drive; None if there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def main() -> None:
    apt_get = shutil.which("apt-get")
    if installed_browser() or apt_get is None or os.geteuid() != 0:
        return
    terminal = Terminal(sys.stderr)
    terminal.say("installing Chromium for the tests of the page …")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        [apt_get, "-qq", "update"],
        [apt_get, "-qq", "install", "-y", "--no-install-recommends", *PACKAGES],
    ):
        done = subprocess.run(
            command, check=False, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode:
            print(done.stdout, end="", file=sys.stderr)
            terminal.say(f"`{' '.join(command[:3])} …` failed; the tests of the page will be skipped.")
            return


if __name__ == "__main__":
    main()
