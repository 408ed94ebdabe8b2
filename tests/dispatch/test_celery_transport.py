"""Hints reach real brokers as messages that Celery understands, and ill brokers delay nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path

import kombu
import pytest
from celery import Celery

from reliable_effects.outbox.celery_transport import DELIVER_TASK, CelerySender
from reliable_effects.outbox.publisher import Hint, HintRefused, Publisher
from tests.services import Proxy, free_port
from tests.waiting import eventually

HINT: Hint = {"v": 1, "db": "default", "ids": [7, 8, 9]}
ROOT = Path(__file__).parents[2]
RIGHT_AWAY = 2  # seconds: far more than it takes, far less than any client's default patience


@pytest.fixture
def queue(broker):
    """The name of a queue that nobody else uses, and that is gone after the test."""
    name = f"hints-{uuid.uuid4().hex[:12]}"
    yield name
    broker.heal()
    with kombu.Connection(broker.url) as connection:
        connection.default_channel.queue_delete(name)


@pytest.fixture
def proxy(broker):
    with Proxy(broker.port) as proxy:
        yield proxy


@pytest.fixture
def make_app(broker):
    """A project's app; by default its broker is the real one."""

    def make(url=None, **conf) -> Celery:
        app = Celery("project", broker=url or broker.url, set_as_current=False)
        app.conf.update(conf)
        return app

    return make


@pytest.fixture
def make_sender(make_app):
    made = []

    def make(url=None, **conf) -> CelerySender:
        made.append(CelerySender(make_app(url, **conf)))
        return made[-1]

    yield make
    for sender in made:
        sender.close()


@pytest.fixture
def make_publisher(make_sender):
    made = []

    def make(url=None, **options) -> Publisher:
        made.append(Publisher(make_sender(url), **options))
        return made[-1]

    yield make
    for publisher in made:
        publisher.reset()


def through(proxy, broker) -> str:
    """The broker's address by way of the proxy."""
    return broker.url.replace(str(broker.port), str(proxy.port))


def take(url, name):
    """The next message of a queue, or None."""
    with kombu.Connection(url) as connection:
        return kombu.Queue(name, channel=connection.default_channel).get(no_ack=True)


def timed(call, *args):
    began_at = time.monotonic()
    answer = call(*args)
    return answer, time.monotonic() - began_at


# What is sent.


def test_a_stock_worker_is_called_with_the_hint(broker, queue, make_publisher, tmp_path):
    """The task is thin and registered by the project's own worker; nothing else is asked of it."""
    received = tmp_path / "received"
    environment = os.environ | {"BROKER": broker.url, "RECEIVED": str(received)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    command = f"celery -A tests.dispatch.stock_worker worker -P solo -Q {queue}"
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", *command.split()],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        ) as worker,
    ):
        try:
            assert make_publisher().publish(queue, HINT)

            line = eventually(lambda: received.exists() and received.read_text(), within=60)
        finally:
            worker.kill()

    task_id, is_result_ignored, hint = json.loads(line)
    assert hint == HINT
    assert is_result_ignored
    assert uuid.UUID(task_id).version == 4


def test_a_message_is_light_and_does_not_outlive_its_use(broker, queue, make_sender):
    """Storing hints on a broker's disk, or for days, would buy nothing: the row is the truth."""
    send = make_sender()

    send(queue, HINT)

    message = take(broker.url, queue)
    assert message.headers["task"] == DELIVER_TASK
    assert message.properties["delivery_mode"] == 1
    assert message.properties["expiration"] == "600000"
    assert message.headers.get("expires") is None


def test_each_hint_is_a_task_of_its_own(broker, queue, make_sender):
    """Celery drops a task whose id was revoked, and monitors tell tasks apart by it."""
    send = make_sender()

    send(queue, HINT)
    send(queue, HINT)

    first, second = take(broker.url, queue), take(broker.url, queue)
    assert first.headers["id"] == first.headers["root_id"] == first.properties["correlation_id"]
    assert first.headers["id"] != second.headers["id"]


def test_the_projects_serializer_and_protocol_do_not_matter(broker, queue, make_sender):
    """A project that still pickles its own tasks gets no pickled hints."""
    send = make_sender(task_serializer="pickle", task_protocol=1)

    send(queue, HINT)

    message = take(broker.url, queue)
    assert message.content_type == "application/json"
    assert json.loads(message.body)[0] == [HINT]


def test_the_projects_own_queues_are_honoured(broker, queue, make_sender):
    """Where the project routes by topic, hints follow."""
    topic = kombu.Queue(queue, kombu.Exchange(f"{queue}-x", "topic"), routing_key="hints.all")
    send = make_sender(task_queues=[topic])

    send(queue, HINT)

    message = take(broker.url, queue)
    assert message.delivery_info["exchange"] == f"{queue}-x"
    assert message.delivery_info["routing_key"] == "hints.all"
    with kombu.Connection(broker.url) as connection:
        connection.default_channel.exchange_delete(f"{queue}-x")


def test_a_queue_that_the_project_forbids_is_refused(make_sender):
    """That is one queue's mistake, not the broker's."""
    send = make_sender(task_queues=[kombu.Queue("theirs")], task_create_missing_queues=False)

    with pytest.raises(HintRefused, match="unheard-of"):
        send("unheard-of", HINT)


def test_a_queue_that_exists_otherwise_is_refused_and_the_next_goes_out(
    rabbitmq_server, make_rabbitmq_sender
):
    """RabbitMQ closes the channel at such a declaration; the next hint must find another."""
    name = f"hints-{uuid.uuid4().hex[:12]}"
    with kombu.Connection(rabbitmq_server.url) as connection:
        channel = connection.default_channel
        channel.queue_declare(name, durable=True, auto_delete=False, arguments={"x-max-length": 5})
        try:
            with pytest.raises(HintRefused, match="PRECONDITION_FAILED"):
                make_rabbitmq_sender(name)

            make_rabbitmq_sender(f"{name}-other")
        finally:
            channel.queue_delete(name)
            channel.queue_delete(f"{name}-other")


@pytest.fixture
def make_rabbitmq_sender(rabbitmq_server):
    sender = CelerySender(Celery("project", broker=rabbitmq_server.url, set_as_current=False))
    yield lambda queue: sender(queue, HINT)
    sender.close()


def test_a_key_prefix_of_the_project_is_kept(redis_server):
    """Workers look under it, so hints without it would never be found."""
    options = {"global_keyprefix": "shop:"}
    app = Celery("project", broker=redis_server.url, set_as_current=False)
    app.conf.broker_transport_options = dict(options)
    send = CelerySender(app)

    send("hints", HINT)

    send.close()
    with kombu.Connection(redis_server.url, transport_options=options) as connection:
        message = kombu.Queue("hints", channel=connection.default_channel).get(no_ack=True)
    assert message.payload[0] == [HINT]
    assert app.conf.broker_transport_options == options


def test_the_projects_own_connections_keep_their_patience(queue, make_app):
    """Our limits suit a hint that may be lost, not the project's tasks."""
    app = make_app(broker_transport_options={"visibility_timeout": 60})
    before = app.connection_for_write().transport_options
    send = CelerySender(app)

    send(queue, HINT)

    send.close()
    assert app.conf.broker_transport_options == {"visibility_timeout": 60}
    assert app.connection_for_write().transport_options == before
    assert app.connection_for_write().connect_timeout == app.conf.broker_connection_timeout


def test_hints_travel_in_memory_too():
    """Celery's in-memory broker serves projects' own tests."""
    app = Celery("project", broker="memory://", set_as_current=False)
    publisher = Publisher(CelerySender(app))

    sent = publisher.publish("hints", HINT)

    publisher.reset()
    assert sent
    assert take("memory://", "hints").payload[0] == [HINT]


# What an ill broker costs.


def test_a_refused_connection_costs_nothing_worth_naming(make_publisher, broker, proxy):
    """With its retries switched off, Celery would still sleep six seconds here."""
    proxy.mode = "refuse"
    publisher = make_publisher(through(proxy, broker))

    sent, seconds = timed(publisher.publish, "hints", HINT)

    assert not sent
    assert seconds < RIGHT_AWAY
    assert publisher.is_open


@pytest.mark.parametrize("mode", ["freeze", "drop_replies"])
def test_a_broker_that_hangs_before_the_first_hint_costs_a_second(
    make_publisher, broker, proxy, mode
):
    """Accepted, and never answered: by default clients wait for ever."""
    proxy.mode = mode
    publisher = make_publisher(through(proxy, broker))

    sent, seconds = timed(publisher.publish, "hints", HINT)

    assert not sent
    assert seconds < RIGHT_AWAY
    assert timed(publisher.publish, "hints", HINT)[1] < 0.5


@pytest.mark.parametrize("was_connected", [False, True])
def test_the_sender_itself_gives_up_on_a_broker_that_hangs(
    broker, queue, proxy, make_sender, was_connected
):
    """Else the publisher's thread would never be free again, and its probes never sent."""
    send = make_sender(through(proxy, broker))
    if was_connected:
        send(queue, HINT)
    proxy.mode = "drop_replies"

    began_at = time.monotonic()
    with pytest.raises(Exception):  # noqa: B017, PT011  # each client has its own
        send(f"{queue}-new", HINT)  # a queue not declared yet, so that it has to answer

    assert time.monotonic() - began_at < 3 * RIGHT_AWAY


def test_a_broker_that_hangs_later_costs_a_second_once(make_publisher, broker, queue):
    """RabbitMQ's client may even believe that it sent; a hint may be lost, a second may not."""
    publisher = make_publisher()
    assert publisher.publish(queue, HINT)
    broker.freeze()

    waits = [timed(publisher.publish, queue, HINT)[1] for _ in range(20)]

    assert sum(waits) < RIGHT_AWAY


def test_eight_threads_before_a_hung_broker_all_come_back(make_publisher, broker, queue):
    """The threads of one web process, in the moment in which the broker hangs."""
    broker.freeze()
    publisher = make_publisher()
    start, answers = threading.Barrier(8), []

    def request():
        start.wait()
        answers.append(timed(publisher.publish, queue, HINT))

    requests = [threading.Thread(target=request) for _ in range(8)]
    for thread in requests:
        thread.start()
    for thread in requests:
        thread.join(timeout=30)

    assert [sent for sent, _ in answers] == [False] * 8
    assert max(seconds for _, seconds in answers) < RIGHT_AWAY
    assert len([seconds for _, seconds in answers if seconds > 0.5]) <= 1


def test_hints_flow_again_after_an_outage(make_publisher, broker, queue):
    """Nobody has to restart a web process because its broker was away."""
    publisher = make_publisher(rest=timedelta(milliseconds=100))
    assert publisher.publish(queue, HINT)
    broker.kill()
    eventually(lambda: not publisher.publish(queue, HINT))

    broker.start()

    assert eventually(lambda: publisher.publish(queue, HINT), within=30)
    assert eventually(lambda: take(broker.url, queue))
    assert not publisher.is_open


def test_a_connection_that_was_cut_meanwhile_loses_no_hint(make_publisher, broker, proxy, queue):
    """A broker that was restarted overnight must not cost the first order of the morning."""
    # How long a new connection takes is not the matter here, and a busy machine takes its time.
    publisher = make_publisher(through(proxy, broker), patience=timedelta(seconds=20))
    assert publisher.publish(queue, HINT)
    assert take(broker.url, queue)
    proxy.mode = "cut"
    proxy.mode = "ok"

    assert publisher.publish(queue, HINT)
    assert eventually(lambda: take(broker.url, queue))


def test_a_wiped_broker_gets_its_queue_back_with_the_next_connection(broker, queue, make_sender):
    """Messages to a queue that is not there vanish without a word."""
    send = make_sender()
    send(queue, HINT)
    broker.wipe()
    send.close()

    send(queue, HINT)

    assert take(broker.url, queue)


def test_the_second_broker_of_a_list_is_tried(broker, queue, make_publisher):
    """Projects with a cluster name all its nodes; one is always being upgraded."""
    nobody = broker.url.replace(str(broker.port), str(free_port()))
    publisher = make_publisher(f"{nobody};{broker.url}")

    sent, seconds = timed(publisher.publish, queue, HINT)

    assert sent
    assert seconds < RIGHT_AWAY


# Processes.

PRELUDE = f"""
import os, sys
import celery
from celery import Celery
from reliable_effects.outbox.celery_transport import CelerySender, usable_app
from reliable_effects.outbox.publisher import Publisher
hint = {HINT!r}
"""


def run(script: str, *arguments: str) -> str:
    """Run *script* in a process of its own, which has to end within a bound."""
    environment = os.environ.copy()
    for name in ("DJANGO_SETTINGS_MODULE", "CELERY_BROKER_URL"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_parent_and_child_do_not_share_a_connection(broker, queue):
    """Two processes that write to one socket garble each other's messages."""
    script = f"""{PRELUDE}
url, queue = sys.argv[1:]
sender = CelerySender(Celery("project", broker=url))
publisher = Publisher(sender)
assert publisher.publish(queue, hint)
inherited = sender._link
child = os.fork()
if not child:
    assert all(publisher.publish(queue, hint) for _ in range(20))
    assert sender._link is not inherited
    sys.exit()
assert all(publisher.publish(queue, hint) for _ in range(20))
assert os.waitpid(child, 0)[1] == 0
assert publisher.publish(queue, hint)
"""

    run(script, broker.url, queue)

    assert sum(take(broker.url, queue) is not None for _ in range(42)) == 42
    assert take(broker.url, queue) is None


@pytest.mark.parametrize("was_connected", [False, True])
def test_a_process_ends_promptly_while_its_broker_hangs(broker, queue, proxy, was_connected):
    """A clean good-bye to a broker that does not answer lasts for ever."""
    script = f"""{PRELUDE}
url, queue, was_connected = sys.argv[1:]
publisher = Publisher(CelerySender(Celery("project", broker=url)))
if was_connected == "True":
    assert publisher.publish(queue, hint)
print("ready", flush=True)
sys.stdin.readline()
publisher.publish(queue, hint)
"""
    if not was_connected:
        proxy.mode = "freeze"
    with subprocess.Popen(
        [sys.executable, "-c", script, through(proxy, broker), queue, str(was_connected)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            proxy.mode = "freeze"
            process.stdin.write("\n")
            process.stdin.close()

            code = process.wait(timeout=15)
        finally:
            process.kill()

    assert code == 0


# Which app may carry hints.

APPS = {
    "no app at all": ("", None),
    "an app with a broker": ("app = Celery('project', broker='memory://')", "project"),
    "an app without a broker": ("app = Celery('project')", None),
    "an app that is eager": (
        "app = Celery('project', broker='memory://')\napp.conf.task_always_eager = True",
        None,
    ),
    "a broker in the environment": (
        "os.environ['CELERY_BROKER_URL'] = 'memory://'\napp = Celery('project')",
        "project",
    ),
    "the app that Celery makes by itself": (
        "os.environ['CELERY_BROKER_URL'] = 'memory://'\ncelery.current_app.conf",
        None,
    ),
    "an app made after Celery's own": (
        "celery.current_app.conf\napp = Celery('project', broker='memory://')",
        "project",
    ),
}


@pytest.mark.parametrize(("made", "expected"), APPS.values(), ids=APPS)
def test_only_an_app_that_the_project_configured_carries_hints(made, expected):
    """A project that does not use Celery must not start to talk to amqp://localhost."""
    script = f"""{PRELUDE}
{made}
print(getattr(usable_app(), "main", None))
"""

    assert run(script) == str(expected)


def test_every_thread_finds_the_projects_app():
    """Celery's current app belongs to the thread that made it, and a web server has many."""
    script = f"""{PRELUDE}
import threading
app = Celery("project", broker="memory://")
thread = threading.Thread(target=lambda: print(usable_app().main))
thread.start()
thread.join()
"""

    assert run(script) == "project"


def test_looking_for_an_app_makes_none():
    """Celery's implicit app would then be everybody's default."""
    script = f"""{PRELUDE}
from celery import _state
assert usable_app() is None
print(_state.default_app)
"""

    assert run(script) == "None"


def test_without_celery_there_is_no_app():
    """Celery is an extra."""
    script = """if True:
        import sys
        sys.modules["celery"] = sys.modules["kombu"] = None  # imports of them fail
        from reliable_effects.outbox.celery_transport import usable_app
        print(usable_app())
    """

    assert run(script) == "None"
