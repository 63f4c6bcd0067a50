"""The browser in which the page is tested.

`python -m devstack.browser` installs one where there is none and that can be done unasked: on Debian, as root.
Elsewhere it does nothing, and the tests say that they were skipped.
"""

import os
import shutil
import subprocess
import sys

from devstack.terminal import Terminal

# All are Chromium, more or less.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Fonts with Latin and Cyrillic letters come along: a bare machine has none.
PACKAGES = ("chromium", "fonts-dejavu-core")


def installed_browser() -> str | None:
    """The path of a browser that can be driven; None where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def main() -> None:
    apt_get = shutil.which("apt-get")
    if installed_browser() or apt_get is None or os.geteuid() != 0:
        return
    terminal = Terminal(sys.stderr)
    terminal.say("installing Chromium, with which the page is tested …")
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
            terminal.say(f"`{' '.join(command[:3])} …` failed; the page is not tested in a browser.")
            return


if __name__ == "__main__":
    main()
