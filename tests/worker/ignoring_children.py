"""`python -m django`, started by a program that ignores SIGCHLD, which those it starts inherit."""

from __future__ import annotations

import signal
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    execute_from_command_line(["django", *sys.argv[1:]])
