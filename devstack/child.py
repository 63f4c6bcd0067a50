"""Prepares its own process (user, signal at the supervisor's death) and then executes a command in it.

processes.py runs this, because the kernel sends that signal only to a process that has asked for it itself, and after a
change of user it must ask again.

Usage: child.py SUPERVISOR STOP_SIGNAL USER COMMAND...; SUPERVISOR is a pid, an empty USER keeps the supervisor's user.
"""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1


def execute(supervisor: int, stop_signal: int, user: str, command: list[str]) -> None:
    if user:
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    if sys.platform == "linux":
        # This comes after the change of user, at which the kernel would reset it; exec keeps it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, stop_signal)
    # The supervisor may have died before prctl, and then no signal would ever come.
    if os.getppid() != supervisor:
        sys.exit("the supervisor has died")
    os.execv(command[0], command)  # noqa: S606 - it needs no shell


if __name__ == "__main__":
    execute(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
