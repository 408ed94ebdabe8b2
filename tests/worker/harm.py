"""
Effects that do harm: to their process, its slot, its memory, its connection, its habits.

Each says outside that it ran before it does what it does. A subject whose status is not "harmful"
is spared: that is how a process learns that an effect is quick, and takes it into a line or group.
`HARMS` says how each must end.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from reliable_effects import effect
from reliable_effects.outbox.states import Reason, State
from tests.shop.models import Order

from .innocents import AT_ONCE, SHORT, Ctx, outside, word

ATTEMPTS = 2  # of each harmful effect; as many as tests.worker.settings allows kills
MEMORY = 256 * 2**20  # bytes that a process may still take when its memory is limited
LINGER = 15.0  # seconds that a child of an effect outlives it

Act = Callable[[Order, Ctx], None]


@dataclass(frozen=True)
class Harm:
    """One kind of harm, and the end that its delivery must come to."""

    effect: Any
    state: State
    reason: str = ""
    kills: bool = False  # each run costs its process


HARMS: dict[str, Harm] = {}


def _harm(state: State, reason: str = "", *, kills: bool = False, **options: Any):
    def declare(act: Act) -> Act:
        name = act.__name__.strip("_")

        def run(order: Order, ctx: Ctx) -> None:
            if order.status == "harmful":
                outside().write(word(order.pk, name), ctx.idempotency_key)
                act(order, ctx)

        run.__module__ = __name__
        options.setdefault("timeout", SHORT)
        declared = effect(
            f"harm.{name}", subject="shop.Order", max_attempts=ATTEMPTS, backoff=AT_ONCE, **options
        )(run)
        HARMS[name] = Harm(declared, state, reason, kills)
        return act

    return declare


_kills = _harm(State.POISONED, Reason.KILLED_WORKERS, kills=True)
_fails = _harm(State.POISONED, Reason.ATTEMPTS_SPENT)
_hangs = _harm(State.POISONED, Reason.TIMED_OUT)
_litters = _harm(State.SUCCEEDED)

# What ends the process.


@_kills
def kill(_order: Order, _ctx: Ctx) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@_harm(State.POISONED, Reason.KILLED_WORKERS, kills=True, harmless_to_repeat=True)
def kill_a_group(_order: Order, _ctx: Ctx) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@_kills
def segfault(_order: Order, _ctx: Ctx) -> None:
    ctypes.string_at(0)


@_kills
def exit_at_once(_order: Order, _ctx: Ctx) -> None:
    os._exit(3)


@_harm(State.POISONED, Reason.KILLED_WORKERS, kills=True, timeout=timedelta(seconds=3))
def overflow_the_stack(_order: Order, _ctx: Ctx) -> None:
    """Recursion in C, which nobody counts."""
    gc.disable()  # it would look at all of them again and again
    nested: Any = None
    for _ in range(5 * 10**5):  # 8 MiB of stack are used up by less
        nested = (nested,)
    hash(nested)


@_kills
def litter_and_die(_order: Order, _ctx: Ctx) -> None:
    """Children that eat memory keep every pipe and connection that the dead one had."""
    _leave_children()
    os.kill(os.getpid(), signal.SIGKILL)


# What ends with an exception, none of them usual.


@_fails
def out_of_memory(_order: Order, _ctx: Ctx) -> None:
    raise MemoryError


@_harm(State.POISONED, Reason.ATTEMPTS_SPENT, timeout=timedelta(seconds=30))
def eat_memory(_order: Order, _ctx: Ctx) -> None:
    """To the last byte of a process that may have no more, and the traceback holds all of it."""
    _limit_memory()
    eaten: list[Any] = []
    size = 2**24
    while size:
        try:
            eaten.append(bytearray(size))
        except MemoryError:
            size //= 2
    while True:
        eaten.append(eaten[:])


@_fails
def leave(_order: Order, _ctx: Ctx) -> None:
    raise SystemExit(3)


@_fails
def interrupt(_order: Order, _ctx: Ctx) -> None:
    raise KeyboardInterrupt


@_fails
def close_a_generator(_order: Order, _ctx: Ctx) -> None:
    raise GeneratorExit


@_fails
def recurse(order: Order, ctx: Ctx) -> None:
    recurse(order, ctx)


# What does not come back.


@_kills
def hang_in_c(_order: Order, _ctx: Ctx) -> None:
    """Holds the GIL and hears no signal."""
    sum(range(10**15))


@_kills
def swallow(_order: Order, _ctx: Ctx) -> None:
    while True:
        with suppress(Exception):
            time.sleep(3600)


@_kills
def swallow_everything(_order: Order, _ctx: Ctx) -> None:
    while True:
        with suppress(BaseException):
            time.sleep(3600)


@_hangs
def hang_in_c_without_the_gil(_order: Order, _ctx: Ctx) -> None:
    libc = ctypes.CDLL(None)
    while True:
        libc.usleep(900_000)


@_hangs
def hang_in_a_socket(_order: Order, _ctx: Ctx) -> None:
    """A peer that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).recv(1)


# What comes back, and leaves something behind.


@_litters
def close_the_connection(_order: Order, _ctx: Ctx) -> None:
    """Under Django's feet: it believes that the connection is well."""
    connection.ensure_connection()
    connection.connection.close()


@_fails
def leave_a_transaction_open(order: Order, _ctx: Ctx) -> None:
    transaction.atomic().__enter__()
    Order.objects.filter(pk=order.pk).update(charge_id="never committed")


@_fails
def begin_and_leave(order: Order, _ctx: Ctx) -> None:
    """The same, without telling Django."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
    Order.objects.filter(pk=order.pk).update(charge_id="never committed")


@_fails
def leave_another_open(_order: Order, _ctx: Ctx) -> None:
    """On a database that is not the delivery's own."""
    transaction.atomic(using="other").__enter__()
    Order.objects.using("other").create(charge_id="never committed")


@_litters
def change_habits(_order: Order, _ctx: Ctx) -> None:
    """Handlers, alarms, masks and limits of the process, and where it stands."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    Path(folder).rmdir()


@_litters
def write_garbage(_order: Order, _ctx: Ctx) -> None:
    for descriptor in (1, 2):
        os.write(descriptor, bytes(range(256)) * 4)
    print("\x00\x1b[2J")  # noqa: T201  # a terminal would obey it


@_litters
def start_a_thread(_order: Order, _ctx: Ctx) -> None:
    """Not a daemon: Python's own exit would wait for it."""
    threading.Thread(target=time.sleep, args=(LINGER,)).start()


@_litters
def leave_children(_order: Order, _ctx: Ctx) -> None:
    _leave_children()


@_litters
def return_twice(_order: Order, _ctx: Ctx) -> None:
    """A child that forgot to exit comes back from the effect, with its parent's connection."""
    os.fork()


@_fails
def fail_twice(_order: Order, _ctx: Ctx) -> None:
    """The same, and both of them fail."""
    os.fork()
    raise ValueError("one of two")


def _limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))


def _leave_children() -> None:
    for _ in range(3):
        if os.fork() == 0:
            # What only a copy of the worker has: its pipes, its sockets, its memory.
            with suppress(BaseException):
                _limit_memory()
                eaten = [bytearray(2**22) for _ in range(8)]
                time.sleep(LINGER)
                del eaten
            os._exit(0)
