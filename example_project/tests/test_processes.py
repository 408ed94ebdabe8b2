"""A demo that leaves processes behind is worse than none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from example_project.processes import (
    ROOT,
    Fleet,
    NotReady,
    Process,
    free_port,
    listens,
    says,
    until,
)

# A parent that forks a child, says so, and sleeps; the child sleeps too.
PARENT = "import os, time\nos.fork() or time.sleep(60)\nprint('here', flush=True)\ntime.sleep(60)"
DEAF = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + PARENT


def python(tmp_path, code: str, name: str = "program", **more) -> Process:
    return Process(name, [sys.executable, "-c", code], logs=tmp_path, **more)


def is_gone(pid: int) -> bool:
    """Tell whether *pid* has ended; a dead child of a dead parent may still wait to be reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False


def all_gone(pids: list[int]) -> bool:
    return any(all(map(is_gone, pids)) for _ in until(20))


def test_leaving_the_fleet_ends_every_process_and_its_children(tmp_path):
    with Fleet() as fleet:
        process = fleet.start(python(tmp_path, PARENT, ready=says("here")))
        fleet.wait_until_ready()
        pids = [process.pid, *process.children()]

    assert len(pids) == 2
    assert all_gone(pids)


def test_an_exception_inside_the_fleet_leaves_nothing_behind(tmp_path):
    with suppress(RuntimeError), Fleet() as fleet:
        process = fleet.start(python(tmp_path, PARENT, ready=says("here")))
        fleet.wait_until_ready()
        pids = [process.pid, *process.children()]
        raise RuntimeError

    assert all_gone(pids)


def test_a_process_that_will_not_stop_is_made_to(tmp_path):
    process = python(tmp_path, DEAF, ready=says("here"))
    process.start()
    process.wait_until_ready()
    pids = [process.pid, *process.children()]

    process.stop(seconds=0.2)

    assert all_gone(pids)


def test_a_killed_process_can_be_started_again_and_its_log_goes_on(tmp_path):
    process = python(tmp_path, PARENT, ready=says("here"))
    process.start()
    process.wait_until_ready()
    process.kill()
    assert not process.is_alive()

    process.start()
    process.wait_until_ready()
    process.kill()

    assert process.log.read_text().count("here") == 2


def test_a_process_that_ends_before_it_is_ready_says_so_with_its_last_lines(tmp_path):
    process = python(tmp_path, "raise SystemExit('no such database')", ready=says("never"))
    process.start()

    with pytest.raises(NotReady, match="no such database"):
        process.wait_until_ready()


def test_a_process_that_never_gets_ready_is_not_waited_for_for_ever(tmp_path):
    with Fleet() as fleet:
        process = fleet.start(python(tmp_path, PARENT, ready=listens(free_port())))

        with pytest.raises(NotReady, match="was not ready"):
            process.wait_until_ready(0.2)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_the_demo_ends_its_processes_end_too(tmp_path, how):
    """Ctrl-C, kill, and kill -9 of the one that started them."""
    if how == signal.SIGKILL and sys.platform != "linux":
        pytest.skip("only Linux tells a child that its parent was killed")
    code = f"""
import signal, sys, time
from pathlib import Path
from example_project.processes import Fleet, Process, says
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` would have it ignored
with Fleet() as fleet:
    sleeper = Process("sleeper", [sys.executable, "-c", "print('here', flush=True)\\nimport time; time.sleep(60)"],
                      logs=Path({str(tmp_path)!r}), ready=says("here"))
    fleet.start(sleeper)
    fleet.wait_until_ready()
    print(sleeper.pid, flush=True)
    time.sleep(60)
"""
    demo = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with demo:
        pid = int(demo.stdout.readline())

        demo.send_signal(how)
        demo.wait(20)

    assert all_gone([pid])
