"""
A warm process that forks one to kill and one to drain, for each trial. `python -m` starts it.

Comes in, a line of JSON each: the act, the place to die at, and the pictures that `judge` compares
with. Goes out: what was found. The server
itself never opens a connection, nor starts a thread: children inherit neither.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import django

django.setup()

from django.db import connection, connections  # noqa: E402  # Django is ready only now
from django.test import override_settings  # noqa: E402

from tests.forgetting import forget_rows  # noqa: E402

from . import outer_world  # noqa: E402
from .acts import ALL  # noqa: E402
from .acts.act import Act, hint_all  # noqa: E402
from .drain import drain  # noqa: E402
from .judge import judge, look  # noqa: E402
from .places import Killer  # noqa: E402

_TABLES = (
    "reliable_effects_attempt",
    "reliable_effects_coverage",
    "reliable_effects_delivery",
    "reliable_effects_inboxmessage",
    "reliable_effects_idempotencyrecord",
    "reliable_effects_outboxevent",
    "reliable_effects_scheduledjob",
    "reliable_effects_sweep",
    "reliable_effects_walk",
    "shop_ledgerentry",
    "trials_trialexpiry",
    "shop_order",
)


def main(folder: Path) -> None:
    world, answers = folder / "world", folder / "answers"
    world.mkdir(exist_ok=True)
    answers.mkdir(exist_ok=True)
    outer_world.open_in(world)
    _warm_up()
    for line in sys.stdin:
        name, kill_at, *pictures = json.loads(line)
        outer_world.wipe()
        killer = Killer(tuple(kill_at) if kill_at else None)
        killed, places = _in_a_child(answers / "play", partial(_play, ALL[name], killer))
        _, found = _in_a_child(answers / "found", partial(_conclude, ALL[name], *pictures))
        print(json.dumps(found | {"killed": killed, "places": places}), flush=True)  # noqa: T201  # the answer


def _play(act: Act, killer: Killer) -> Any:
    _empty_tables()
    act.prepare()
    outer_world.lose_hints()  # the sweeps must find what was promised
    with killer.watching():
        act.play()
    return killer.places()


def _conclude(act: Act, *pictures: dict[str, Any] | None) -> Any:
    act.meanwhile()
    drain()
    return {"after": look()} | asdict(judge(act, *pictures))


def _empty_tables() -> None:
    with connection.cursor() as cursor:
        for table in _TABLES:
            cursor.execute(f"DELETE FROM {table}")


def _warm_up() -> None:
    """What is imported and cached here, no child need begin with; halves its time."""
    with override_settings(RELIABLE_EFFECTS={"TRANSPORT": "none"}):  # the others start a thread
        for name in ("deliver one that emits", "end: pay", "rescue", "prune"):
            _empty_tables()
            ALL[name].prepare()
            hint_all()
            drain()
            judge(ALL[name])
    forget_rows()
    _empty_tables()
    connections.close_all()
    gc.freeze()  # and none in children, who live for a moment: else they copy the whole heap
    gc.disable()


def _in_a_child(answer: Path, work: Callable[[], Any]) -> tuple[bool, Any]:
    """Whether it was killed, and else what it has to say."""
    pid = os.fork()
    if pid == 0:
        try:
            answer.write_text(json.dumps(work()))
        except BaseException:  # noqa: BLE001  # whatever it was, a child must not go on as a server
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL:
        return True, None
    if code:
        sys.exit(f"a child ended with {code}; see above")
    return False, json.loads(answer.read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
