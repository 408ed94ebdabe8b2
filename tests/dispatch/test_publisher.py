"""
The publisher's promise is time: what a broker does, a caller waits a bounded while.

`send` is the edge here. It blocks or fails as brokers and resolvers do; what real ones do to it
is in test_celery_transport.py.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from reliable_effects.outbox.publisher import Hint, HintRefused, Publisher
from tests.waiting import eventually

HINT: Hint = {"v": 1, "db": "default", "ids": [1, 2]}
ROOT = Path(__file__).parents[2]


class Broker:
    """A broker that notes what it gets, and hangs or fails when told to."""

    def __init__(self):
        self.received = []
        self.failure = None
        self._answers = threading.Event()
        self._answers.set()

    def __call__(self, queue, _hint):
        self.received.append(queue)
        self._answers.wait()
        if self.failure:
            raise self.failure

    def hang(self):
        self._answers.clear()

    def recover(self):
        self.failure = None
        self._answers.set()


@pytest.fixture
def broker():
    broker = Broker()
    yield broker
    broker.recover()


@pytest.fixture
def make_publisher(broker):
    made = []

    def make(**options) -> Publisher:
        made.append(Publisher(broker, **options))
        return made[-1]

    yield make
    broker.recover()
    for publisher in made:
        publisher.reset()


@pytest.fixture
def publisher(make_publisher) -> Publisher:
    return make_publisher()


def timed(call, *args):
    began_at = time.monotonic()
    answer = call(*args)
    return answer, time.monotonic() - began_at


def together(threads, call):
    """What *call* answered in each thread, all started at once."""
    start = threading.Barrier(threads)
    answers = []

    def run():
        start.wait()
        answers.append(timed(call))

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=30)
    assert len(answers) == threads
    return answers


def test_a_hint_goes_out_from_a_thread_that_is_not_the_callers():
    """The caller must be able to leave."""
    seen = []
    publisher = Publisher(lambda queue, hint: seen.append((queue, hint, threading.get_ident())))

    sent = publisher.publish("payments", HINT)

    publisher.reset()
    assert sent
    [(queue, hint, thread)] = seen
    assert (queue, hint) == ("payments", HINT)
    assert thread != threading.get_ident()


def test_a_broken_broker_raises_nothing_and_is_left_alone(broker, publisher, caplog):
    """A request must not fail for a hint, and not try again what just failed."""
    broker.failure = ConnectionRefusedError("nobody listens")

    first, second = publisher.publish("celery", HINT), publisher.publish("celery", HINT)

    assert (first, second) == (False, False)
    assert publisher.is_open
    assert broker.received == ["celery"]
    [line] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "nobody listens" in line.getMessage()


def test_eight_threads_and_a_hung_broker_cost_one_of_them_a_second(broker, publisher):
    """A web process with all its threads waiting is down, whatever the reason."""
    broker.hang()

    answers = together(8, lambda: publisher.publish("celery", HINT))

    assert not any(sent for sent, _ in answers)
    waited = sorted(seconds for _, seconds in answers)
    assert waited[-1] < 2
    assert len([seconds for seconds in waited if seconds > 0.5]) <= 1


def test_while_the_breaker_is_open_nobody_waits(broker, publisher):
    """The second that one request spent is all that the outage costs, for a while."""
    broker.hang()
    publisher.publish("celery", HINT)

    answers = together(8, lambda: publisher.publish("celery", HINT))

    assert all(not sent and seconds < 0.5 for sent, seconds in answers)
    assert broker.received == ["celery"]


def test_a_request_waits_for_nothing(broker, publisher):
    """Its hints are on their way, or else the relay finds the rows: it has no use for an answer."""
    broker.hang()

    _, seconds = timed(publisher.hand_over, [(f"queue{n}", HINT) for n in range(10)])

    assert seconds < 0.5
    assert eventually(lambda: broker.received == ["queue0"])


def test_who_must_know_can_wait_until_all_is_out(broker, publisher):
    """A script that ends by `os._exit`, or a test that looks at what was sent."""
    assert publisher.flush()  # nothing was ever handed over
    for number in range(3):
        publisher.hand_over([(f"queue{number}", HINT)])

    assert publisher.flush()
    assert broker.received == ["queue0", "queue1", "queue2"]


def test_to_wait_for_a_broker_that_hangs_has_an_end(broker, publisher):
    broker.hang()
    publisher.hand_over([("queue", HINT)])

    assert not publisher.flush()


def test_requests_before_a_slow_broker_wait_for_nothing():
    """It would answer each of them in time; and a page with ten orders would take ten times longer."""
    received = []

    def send(queue, _hint):
        time.sleep(0.3)  # what a broker at the end of its strength takes
        received.append(queue)

    publisher = Publisher(send)

    waits = [timed(publisher.hand_over, [(f"queue{n}", HINT)])[1] for n in range(10)]

    assert sum(waits) < 0.3
    assert eventually(lambda: len(received) > 2)
    assert not publisher.is_open
    publisher.reset()


def test_a_broker_that_hangs_is_noticed_though_nobody_waits(broker, make_publisher, caplog):
    """Else each row would wait for a hint that never comes, as long as the broker hangs."""
    publisher = make_publisher(patience=timedelta(milliseconds=100))
    broker.hang()

    publisher.hand_over([("celery", HINT)])
    tries_at_first = publisher.would_try

    assert tries_at_first
    assert eventually(lambda: not publisher.would_try)
    publisher.hand_over([("celery", HINT)])
    assert broker.received == ["celery"]
    assert caplog.text.count("no answer within 0.1 s") == 1


def test_a_line_that_is_empty_stands_still_and_nothing_is_wrong(make_publisher):
    """A night without orders is no outage."""
    now = [0.0]
    publisher = make_publisher(clock=lambda: now[0])
    publisher.hand_over([("celery", HINT)])
    publisher.publish("celery", HINT)

    now[0] += 3600

    assert not publisher.is_open


def test_sweeps_before_a_slow_broker_wait_for_each_answer():
    """They are in no hurry, and what they are not sure of they would only send again."""

    def send(_queue, _hint):
        time.sleep(0.3)  # four of them are more than a request may wait

    publisher = Publisher(send)

    answers = [publisher.publish("celery", HINT) for _ in range(4)]

    publisher.reset()
    assert answers == [True] * 4


def test_the_breaker_closes_when_a_hint_gets_through_again(broker, make_publisher, caplog):
    """An outage ends by itself, with one line at its beginning and one at its end."""
    publisher = make_publisher(rest=timedelta(milliseconds=50))
    broker.failure = OSError("down")
    with caplog.at_level(logging.INFO, logger="reliable_effects"):
        publisher.publish("celery", HINT)
        eventually(lambda: not publisher.publish("celery", HINT) and len(broker.received) >= 3)
        broker.recover()

        eventually(lambda: publisher.publish("celery", HINT))

        assert not publisher.is_open
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_after_the_rest_one_request_asks_and_the_others_do_not_wait(broker, make_publisher):
    """Else every thread would stand before a broker that is still down, every 30 seconds."""
    now = [0.0]
    publisher = make_publisher(clock=lambda: now[0])
    broker.failure = OSError("down")
    publisher.publish("celery", HINT)
    now[0] += 31
    broker.received.clear()

    together(8, lambda: publisher.publish("celery", HINT))

    assert broker.received == ["celery"]


def test_after_the_rest_it_says_that_it_would_try_again(broker, make_publisher):
    """Whoever asks before it hands a hint over would else never send the one that finds out."""
    now = [0.0]
    publisher = make_publisher(clock=lambda: now[0])
    broker.failure = OSError("down")
    publisher.publish("celery", HINT)
    while_it_rests = publisher.would_try
    now[0] += 31

    assert not while_it_rests
    assert publisher.would_try
    assert publisher.is_open


def test_a_thread_that_is_still_stuck_is_not_waited_for_again(broker, make_publisher):
    """A resolver that never answers holds the thread far longer than any rest."""
    publisher = make_publisher(rest=timedelta(milliseconds=10))
    broker.hang()
    publisher.publish("celery", HINT)

    answers = [timed(publisher.publish, "celery", HINT) for _ in range(20)]

    assert all(not sent and seconds < 0.5 for sent, seconds in answers)
    assert publisher.is_open
    assert broker.received == ["celery"]


def test_a_stuck_thread_that_comes_back_sends_no_old_hints(broker, make_publisher):
    """By then the relay has looked after those rows, and new callers come first."""
    publisher = make_publisher(patience=timedelta(milliseconds=200), rest=timedelta(0))
    broker.hang()
    together(4, lambda: publisher.publish("old", HINT))
    broker.recover()

    eventually(lambda: publisher.publish("new", HINT))

    assert broker.received.count("old") == 1
    assert not publisher.is_open


def test_a_hint_whose_caller_left_early_still_goes_out(broker, publisher):
    """The first connection takes a while; the hints of those who left are as good as ever."""
    broker.hang()
    waiting = threading.Thread(target=publisher.publish, args=("celery", HINT))
    waiting.start()
    eventually(publisher._lane().patient.locked)  # it is the one who waits
    left_early = publisher.publish("payments", HINT)

    broker.recover()

    waiting.join(timeout=10)
    assert not left_early
    assert eventually(lambda: broker.received == ["celery", "payments"])
    assert not publisher.is_open


def test_a_queue_that_the_broker_refuses_stops_no_other(broker, publisher, caplog):
    """One queue declared wrongly must not keep the hints of all others back."""
    broker.failure = HintRefused("PRECONDITION_FAILED")
    refused = [publisher.publish("wrong", HINT), publisher.publish("wrong", HINT)]
    broker.recover()

    sent = publisher.publish("right", HINT)

    assert refused == [False, False]
    assert sent
    assert not publisher.is_open
    assert caplog.text.count("PRECONDITION_FAILED") == 1


def test_a_signal_that_ends_the_caller_reaches_it_and_hurts_nobody_else(broker, publisher):
    """Gunicorn ends a slow request with SystemExit, raised right where it waits."""

    def leave(*_):
        raise SystemExit

    before = signal.signal(signal.SIGUSR1, leave)
    broker.hang()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(SystemExit):
            publisher.publish("celery", HINT)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    broker.recover()

    assert eventually(lambda: publisher.publish("celery", HINT))


def run(script: str) -> subprocess.CompletedProcess[str]:
    """Run *script* in a process of its own, which has to end within a bound."""
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def test_a_forked_child_has_a_thread_of_its_own():
    """A preforking server loads the application once, and threads do not survive a fork."""
    done = run("""if True:
        import os
        from reliable_effects.outbox.publisher import Publisher
        hint = {"v": 1, "db": "default", "ids": [1]}
        publisher = Publisher(lambda queue, hint: print(queue, os.getpid() == at_home, flush=True))
        at_home = os.getpid()
        assert publisher.publish("parent", hint)
        child = os.fork()
        if not child:
            assert publisher.publish("child", hint)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert publisher.publish("parent", hint)
    """)

    assert done.stdout.splitlines() == ["parent True", "child False", "parent True"]


def test_a_child_forked_while_the_broker_hangs_starts_afresh():
    """Locks that the parent's threads held at the fork stay locked in the child for ever."""
    done = run("""if True:
        import os, threading, time
        from reliable_effects.outbox.publisher import Publisher
        hint = {"v": 1, "db": "default", "ids": [1]}
        at_home, hung = os.getpid(), threading.Event()
        def send(queue, hint):
            if os.getpid() == at_home:
                hung.set()
                threading.Event().wait()
            print("sent", flush=True)
        publisher = Publisher(send)
        for _ in range(4):
            threading.Thread(target=publisher.publish, args=("celery", hint)).start()
        hung.wait(10)
        child = os.fork()
        if not child:
            os._exit(not publisher.publish("celery", hint))
        assert os.waitpid(child, 0)[1] == 0
    """)

    assert done.stdout == "sent\n"


def test_what_was_handed_over_goes_out_before_the_process_ends():
    """A management command commits, and that was all."""
    done = run("""if True:
        import time
        from reliable_effects.outbox.publisher import Publisher
        def send(queue, hint):
            time.sleep(0.1)  # longer than the interpreter takes to end
            print(queue, flush=True)
        publisher = Publisher(send)
        publisher.hand_over([("celery", {"v": 1, "db": "default", "ids": [1]})])
    """)

    assert done.stdout == "celery\n"


@pytest.mark.parametrize("call", ["publish('celery', hint)", "hand_over([('celery', hint)])"])
def test_a_hung_broker_does_not_keep_the_interpreter_from_its_exit(call):
    """A deploy waits for old processes to end."""
    _, seconds = timed(
        run,
        f"""if True:
        import threading
        from reliable_effects.outbox.publisher import Publisher
        hint = {{"v": 1, "db": "default", "ids": [1]}}
        publisher = Publisher(lambda queue, hint: threading.Event().wait())
        publisher.{call}
        """,
    )

    assert seconds < 20
