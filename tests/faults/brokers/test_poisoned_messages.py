"""Messages that nobody of ours wrote, in our queue: nothing runs because of them, and all goes on."""

from __future__ import annotations

import json
import os
import pickle
import uuid

import kombu
import pytest

from reliable_effects.outbox.celery_transport import DELIVER_TASK

from . import effects
from .conftest import all_done, promise

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database]

HINT = {"v": 1, "db": "default", "ids": [1]}
HINTS = [
    None, True, "drop table", [], {}, 10**400, -1.5,
    HINT | {"v": 99}, HINT | {"v": None}, HINT | {"db": "elsewhere"}, HINT | {"db": ["default"]},
    HINT | {"ids": ["1"]}, HINT | {"ids": [-1]}, HINT | {"ids": [True]}, HINT | {"ids": [2**70]},
    HINT | {"ids": list(range(1, 200_001))}, HINT | {"ids": {"1": 1}}, HINT | {"ids": "x" * 2**20},
    {"v": 1}, {"ids": [1]},
]  # fmt: skip


class Trap:
    """Whoever unpickles it makes a file."""

    def __init__(self, path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def put(broker):
    """`put(body, …)`: a message in the queue, with headers that Celery takes for a call of ours."""
    with kombu.Connection(broker.url) as connection:
        producer = connection.Producer()

        def put(body, headers=None, content_type="application/json", encoding="utf-8", **more):
            task_id = str(uuid.uuid4())
            producer.publish(
                body,
                routing_key="effects",
                headers={"task": DELIVER_TASK, "id": task_id, **(headers or {})},
                content_type=content_type,
                content_encoding=encoding,
                **{"correlation_id": task_id, **more},
            )

        yield put


def call(*args, **kwargs) -> str:
    """The body of a task message: arguments, and what else Celery embeds."""
    return json.dumps([args, kwargs, {}])


@pytest.mark.fault("the queue holds malformed, huge, forged and pickled messages", rows="B10")
@pytest.mark.usefixtures("impatient_web")
def test_a_poisoned_message_runs_nothing_and_the_worker_lives_on(
    *, worker, put, outside, tmp_path, evidence
):
    """Anybody who reaches the broker may write to it."""
    trap = pickle.dumps(([Trap(tmp_path / "sprung")], {}, {}))
    for hint in HINTS:
        put(call(hint))
    for body in (
        "",
        "{",
        "not JSON",
        "null",
        "3",
        '"x"',
        "[]",
        "[[]]",
        "[1, 2, 3]",
        "[[1], {}, 7]",
    ):
        put(body)
    put(call())
    put(call(1, 2, 3))
    put(call(hint=HINT, surprise=True))
    put(call(HINT), headers={"task": "shop.unheard_of"})
    put(call(HINT), headers={"task": None})
    put(call(HINT), headers={"id": None}, correlation_id=None)
    put(call(HINT), headers={"eta": "yesterday", "expires": "never", "retries": "many"})
    put(call(HINT), headers={"timelimit": ["a", "b"]})
    put(
        json.dumps({"task": DELIVER_TASK, "id": "1", "args": 7, "kwargs": []}), headers={"task": ""}
    )
    put("[[1], {}, {}]".encode("utf-16"), encoding="utf-8")
    for content_type in ("application/x-python-serialize", "application/octet-stream"):
        put(trap, content_type=content_type, encoding="binary")
    put("!!python/object/apply:os.mkdir [x]", content_type="application/x-yaml")
    put(call(HINT), content_type="text/unheard-of")

    words = promise(effects.note, 10)

    all_done(outside, words, within=60)
    verdict = outside.judge(words)
    assert worker.poll() is None
    assert not (tmp_path / "sprung").exists()
    assert verdict.extra_runs == 0
    evidence.add(strikes=len(HINTS) + 25, lost=verdict.lost, phantom=verdict.phantom)
