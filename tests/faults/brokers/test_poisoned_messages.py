"""Messages that nobody of ours wrote, in our queue: nothing runs because of them, and all goes on."""

from __future__ import annotations

import json
import os
import pickle
import uuid

import kombu
import pytest
import redis

from reliable_effects.outbox.celery_transport import DELIVER_TASK
from tests.services import Redis
from tests.waiting import eventually

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
BODIES = [
    "", "{", "not JSON", "null", "3", '"x"', "[]", "[[]]", "[1, 2, 3]", "[[1], {}, 7]", "{}",
]  # fmt: skip
# What no kombu has written: Celery on Redis reads its envelope before anything of ours is asked.
ENVELOPES = [b"garbage \xff", b"null", b"{}", b'{"body": "", "properties": {}, "headers": 7}']


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
    for body in BODIES:
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
    put(f"!!python/object/apply:os.mkdir [{tmp_path}/sprung]", content_type="application/x-yaml")
    put(call(HINT), content_type="text/unheard-of")

    words = promise(effects.note, 10)

    all_done(outside, words, within=60)
    words |= promise(effects.note, 10)  # what ended a worker may have come back to it meanwhile
    all_done(outside, words, within=60)
    verdict = outside.judge(words)
    assert worker.poll() is None
    assert not (tmp_path / "sprung").exists()
    assert verdict.extra_runs == 0
    evidence.add(strikes=len(HINTS) + len(BODIES) + 13, lost=verdict.lost, phantom=verdict.phantom)


@pytest.mark.full  # a worker for each
@pytest.mark.fault("the queue's list on Redis holds what is no message at all", rows="B10")
@pytest.mark.usefixtures("impatient_web")
def test_no_message_at_all_costs_a_worker_at_most(broker, fleet, outside, evidence):
    """
    Celery's worker ends at most of these, whatever its tasks: before any code of a task is asked.

    That is out of our reach. But what ended it is gone from the list by then: it ends one worker,
    not each that is started in its stead, and what that one had fetched is done by another.
    """
    if not isinstance(broker, Redis):
        pytest.skip("RabbitMQ's messages have an envelope of their own")
    words = set()
    for envelope in ENVELOPES:
        with redis.Redis(port=broker.port) as client:
            client.lpush("effects", envelope)
        words |= promise(effects.note, 5)
        struck = fleet.start(ready=False)
        eventually(
            lambda: struck.poll() is not None or outside.judge(words).lost == 0,  # noqa: B023  # here and now
            within=30,
        )
        if struck.poll() is not None:
            fleet.start()

        all_done(outside, words)
        fleet.end()
    verdict = outside.judge(words)
    assert verdict.extra_runs == 0
    evidence.add(strikes=len(ENVELOPES), lost=verdict.lost, phantom=verdict.phantom)
