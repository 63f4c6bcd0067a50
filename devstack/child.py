"""Becomes the command it is given, after what can be done only from inside a process. Run by processes.py.

Usage: child.py SUPERVISOR STOP_SIGNAL USER COMMAND...; an empty USER keeps the supervisor's.
"""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1


def become(supervisor: int, stop_signal: int, user: str, command: list[str]) -> None:
    if user:
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    if sys.platform == "linux":
        # The kernel forgets this at a change of user, and keeps it through exec.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, stop_signal)
    if os.getppid() != supervisor:
        sys.exit("the supervisor is gone")
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
