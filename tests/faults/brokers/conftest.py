"""A web process that emits (this one), workers that one may kill, and who judges from outside."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.db.models import F

from reliable_effects import clock
from reliable_effects.outbox import low_water
from reliable_effects.outbox.models import Delivery, Sweep
from reliable_effects.outbox.states import State
from reliable_effects.outbox.worker import work as carry_out_without_a_broker
from tests.faults.outside import Outside
from tests.outbox import frozen
from tests.outbox.conftest import _this_process_remembers_nothing  # noqa: F401  # autouse
from tests.services import Proxy, RabbitMQ, Redis
from tests.shop.models import Order
from tests.waiting import eventually
from tests.worker.conftest import Worker, running

from . import effects

QUEUES = "effects,payments"
READY = b" ready."  # what Celery logs when it consumes


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Redis | RabbitMQ:
    """Both brokers in turn, for a whole module: so its worker is started once for each."""
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def proxy(broker) -> Iterator[Proxy]:
    """Between the web process and the broker; the workers have a way of their own."""
    with Proxy(broker.port) as proxy:
        yield proxy


def through(proxy: Proxy, broker: Redis | RabbitMQ) -> str:
    return broker.url.replace(str(broker.port), str(proxy.port))


# The web process


@pytest.fixture
def web(settings) -> Iterator[Callable[..., None]]:
    """`web(url, …)`: this process sends its hints to *url*, with these settings of ours."""

    def connect(url: str, **options) -> None:
        frozen.use(url)
        settings.RELIABLE_EFFECTS = {"TRANSPORT": "tests.outbox.frozen.send", **options}

    low_water.forget()
    yield connect
    frozen.close()


@pytest.fixture
def impatient_web(web, broker) -> None:
    """It finds within a second that a hint was lost, or that a broker is back."""
    second = timedelta(seconds=1)
    web(broker.url, RELAY_GRACE=second, PUBLISH_REST=second)


def promise(effect, times: int = 1) -> set[str]:
    """Promise *effect* for so many new orders, a request for each; what has to be done outside."""
    words = set()
    for _ in range(times):
        with transaction.atomic():
            order = Order.objects.create()
            effect.promise(order)
        words.add(f"order {order.pk}")
    return words


def imported(number: int) -> set[str]:
    """So many orders of one upload, in few transactions."""
    words = set()
    for _ in range(number // 100):
        with transaction.atomic():
            orders = Order.objects.bulk_create(Order() for _ in range(100))
            effects.imported.emit_many((order, None) for order in orders)
        words |= {f"order {order.pk}" for order in orders}
    return words


def let_pass(span: timedelta, queue: str = "") -> None:
    """As if so much time had gone by for all that waits and was told of *queue* (or of all)."""
    rows = Delivery.objects.waiting()
    sweeps = Sweep.objects.all()
    if queue:
        rows, sweeps = rows.filter(queue=queue), sweeps.filter(name__endswith=f":{queue}")
    rows.update(due_at=F("due_at") - span, look_at=F("look_at") - span)
    sweeps.update(ran_at=F("ran_at") - span)


def drain() -> None:
    """What `effects_worker --drain` does, when every grace is over."""
    with clock.moved(timedelta(hours=1)):
        carry_out_without_a_broker([], lambda: False, drain=True)


# The world outside


@pytest.fixture(scope="module")
def _outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    outside = Outside(tmp_path_factory.mktemp("outside") / "ledger")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUTSIDE", str(outside.path))
        yield outside


@pytest.fixture
def outside(_outside: Outside) -> Outside:
    _outside.path.unlink(missing_ok=True)
    go_file(_outside).unlink(missing_ok=True)
    return _outside


def go_file(outside: Outside) -> Path:
    return Path(f"{outside.path}.go")


def all_done(outside: Outside, words: set[str], *, within: float = 30) -> None:
    """Wait until *words* were said outside, and until our rows have settled too."""

    def is_over() -> bool:
        return (
            outside.judge(words).lost == 0
            and not Delivery.objects.exclude(state=State.SUCCEEDED).exists()
        )

    eventually(is_over, within=within)


# The workers

_numbers = count(1)  # RabbitMQ refuses a worker whose name another one has, or has just had


class Fleet:
    """Stock Celery workers on one broker; what is started ends with the fixture."""

    def __init__(self, broker: Redis | RabbitMQ, folder: Path) -> None:
        self._broker = broker
        self._folder = folder
        self._stack = ExitStack()
        self._workers: list[Worker] = []

    def start(
        self, *, queues: str = QUEUES, children: int = 1, ready: bool = True, **environment: str
    ) -> Worker:
        name = f"worker{next(_numbers)}"
        log = self._folder / f"{name}.log"
        command = ["celery", "-A", "tests.faults.brokers.celery_app", "worker", "-n", f"{name}@%h"]
        worker = self._stack.enter_context(
            running(
                [*command, "-c", str(children), "-Q", queues, "-l", "INFO"],
                log,
                DJANGO_SETTINGS_MODULE="tests.faults.brokers.settings",
                BROKER=self._broker.url,
                **environment,
            )
        )
        self._workers.append(worker)
        if ready:
            eventually(lambda: READY in log.read_bytes(), within=60)
        return worker

    def end(self) -> None:
        """All workers that were started until now."""
        for worker in self._workers:
            with suppress(ProcessLookupError):  # a test has killed it
                # Not asked to end: after an outage Celery may take half a minute over that.
                os.killpg(worker.pid, signal.SIGKILL)
        self._stack.close()
        self._workers.clear()

    def close(self) -> None:
        self._broker.heal()
        self.end()


@pytest.fixture
def fleet(broker, outside, tmp_path) -> Iterator[Fleet]:  # noqa: ARG001  # the workers write there
    fleet = Fleet(broker, tmp_path)
    yield fleet
    fleet.close()


@pytest.fixture(scope="module")
def _one_worker(
    broker,
    _outside,
    django_db_setup,  # noqa: ARG001  # its database
    django_db_blocker,
    tmp_path_factory,
) -> Iterator[Callable[[], Worker]]:
    fleet = Fleet(broker, tmp_path_factory.mktemp("worker"))
    workers: list[Worker] = []

    def one() -> Worker:
        if not workers or workers[-1].poll() is not None:
            workers.append(fleet.start(children=3))
        return workers[-1]

    broker.wipe()
    yield one
    fleet.close()
    with django_db_blocker.unblock():  # it outlived the last test's clean-up
        Sweep.objects.all().delete()
        connection.close()


@pytest.fixture
def worker(_one_worker) -> Worker:
    """The module's: it has to survive what each test does to its broker."""
    return _one_worker()
