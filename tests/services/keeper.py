"""
The process between the tests and one server: when the tests are gone, so is the server.

A script of its own: `keeper.py FOLDER USER COMMAND...` runs the command as *user* ("" is the
caller) and ends when it ends. Its standard input is a pipe that the tests hold open. However they
end, SIGKILL included, the pipe closes; then the keeper kills the server and removes the folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Children of *pid* and theirs in turn, parents first; *pid* is not among them."""
    children: dict[int, list[int]] = {}
    for child, parent in _every_process():
        children.setdefault(parent, []).append(child)
    found = list(children.get(pid, []))
    for child in found:
        found += children.get(child, [])  # grows while it is read: a walk by generations
    return found


def signal_tree(pid: int, signum: signal.Signals) -> None:
    """Send *signum* to all descendants of *pid*, also to those born meanwhile."""
    told: set[int] = set()
    while fresh := [child for child in descendants(pid) if child not in told]:
        for child in fresh:
            told.add(child)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signum)


def _every_process() -> list[tuple[int, int]]:
    """All pairs (pid, parent's pid) of this machine."""
    if not Path("/proc/self/stat").exists():  # macOS
        lines = subprocess.check_output(["/bin/ps", "-axo", "pid=,ppid="], text=True)
        return [(int(pid), int(parent)) for pid, parent in map(str.split, lines.splitlines())]
    pairs = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it ended while we looked
                # A name may hold blanks and brackets, so read from behind the last bracket.
                after_name = (folder / "stat").read_text().rpartition(")")[2].split()
                if after_name[0] not in "ZX":  # the dead need no signal
                    pairs.append((int(folder.name), int(after_name[1])))
    return pairs


def _keep(folder: str, user: str, *command: str) -> int:
    _adopt_orphans()
    as_user = {}
    if user:
        group = pwd.getpwnam(user).pw_gid
        as_user = {"user": user, "group": group, "extra_groups": []}
    server = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, start_new_session=True, **as_user
    )
    tests_are_gone = threading.Event()

    def watch() -> None:
        while os.read(0, 1024):
            pass
        tests_are_gone.set()
        signal_tree(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    while server.returncode is None:  # any child may end first: orphans that we adopted
        pid, status = os.wait()
        if pid == server.pid:
            server.returncode = os.waitstatus_to_exitcode(status)
    _end_what_is_left(server.pid)
    if tests_are_gone.is_set():
        shutil.rmtree(folder, ignore_errors=True)
    return server.returncode


def _adopt_orphans() -> None:
    """Whose parent dies becomes our child, and so stays in the tree. Linux only."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def _end_what_is_left(group: int) -> None:
    """Kill what outlived the server, and leave no zombie for an init that may not care."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    signal_tree(os.getpid(), signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


if __name__ == "__main__":
    sys.exit(_keep(*sys.argv[1:]))
