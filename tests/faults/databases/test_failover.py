"""
A failover to a standby that lacks the last commits, as any asynchronous replica may.

In: a primary that is killed, a standby that stopped receiving a while before, and an address that
leads to the one and then to the other. What the database lost is lost, and the promise is that an
order and what follows from it are lost together: whatever stands afterwards is done, and what was
done outside for orders that are gone is all that anybody has to clear up.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from tests.conftest import _served
from tests.faults.evidence import Evidence
from tests.faults.outside import Call
from tests.services import Proxy, Server
from tests.services.standby import Standby
from tests.waiting import eventually

from .conftest import new_database, postgres_only
from .project import OUTSIDE, Project

pytestmark = [postgres_only, pytest.mark.full, pytest.mark.timeout(240)]

THREADS = 4  # of the clients: so many orders may be in doubt when the primary is killed
EFFECTS = 3  # of each order
FEW = 20  # orders

# Orders, by the name that their clients give them.
DONE = "done"  # and all of it was received by the standby
KEPT = "kept"  # received too, but not what was done for them
LATE = "late"  # those that come before the failover are not received
NEW = "new"


class Cluster:
    """A primary, its standby, and the address of whichever is in charge."""

    def __init__(self, primary: Server, replication: Proxy, address: Proxy) -> None:
        self.url = new_database(primary).replace(f":{primary.port}/", f":{address.port}/")
        self.standby = Standby(primary.url.replace(f":{primary.port}/", f":{replication.port}/"))
        self._primary = primary
        self._replication = replication
        self._address = address

    def cut_replication(self, project: Project) -> None:
        """The standby has all there is now, and gets nothing more."""
        received = Project(project.folder, self.standby.url)
        eventually(lambda: standing(received) == standing(project), within=30)
        self._replication.mode = "cut"
        eventually(lambda: not self.standby.is_receiving(), within=30)
        eventually(self.standby.has_replayed, within=30)

    def fail_over(self) -> None:
        self._primary.kill()
        self.standby.promote()
        self._address.target = self.standby.port  # as a name or a virtual address is moved


@pytest.fixture
def cluster(spare_server: Server) -> Iterator[Cluster]:
    with Proxy(spare_server.port) as replication, Proxy(spare_server.port) as address:
        cluster = Cluster(spare_server, replication, address)
        for _ in _served(cluster.standby.start):
            yield cluster


@pytest.mark.fault("failover to a standby that lacks the last commits", rows="D3")
@pytest.mark.parametrize("workers", ["stay", "are fresh"])
def test_what_a_standby_lacks_is_lost_together_with_its_effects(
    cluster, tmp_path, evidence, workers
):
    """Neither a delivery for an order that is gone, nor an order whose deliveries are."""
    project = Project(tmp_path, cluster.url)
    project.migrate()
    place(project, DONE, FEW)
    project.run("django", "effects_worker", "--drain")
    place(project, KEPT, FEW)
    cluster.cut_replication(project)
    received = standing(project)

    with project.effects_worker() as worker:
        with project.clients(rate=60, count=200, threads=THREADS, name=LATE) as clients:
            eventually(lambda: len(calls(project, LATE)) >= 100, within=40)
            before = standing(project)
            if workers == "are fresh":
                os.killpg(worker.pid, signal.SIGKILL)
            repeated = len(calls(project, KEPT))
            cluster.fail_over()
            assert_one_fate(project)
            assert clients.wait(60) == 0
        with project.effects_worker() if workers == "are fresh" else nullcontext(worker) as drains:
            place(project, NEW, FEW)
            eventually(project.nothing_is_left, within=60)
            assert drains.poll() is None

    assert_one_fate(project)
    stands = standing(project)
    assert received.items() <= stands.items()
    lost = before.items() - stands.items()
    assert {pk for _, pk in lost} & set(stands.values()), "no primary key was given once more"
    judge(project, evidence, repeated=repeated)


def place(project: Project, name: str, count: int) -> None:
    """Orders of an ordinary moment: each is confirmed."""
    with project.clients(rate=60, count=count, name=name) as clients:
        assert clients.wait(60) == 0
    assert not [a for a in project.answers() if a.error and a.order.startswith(name)]


def assert_one_fate(project: Project) -> None:
    """Each order has its one event and all deliveries, and there are no others. One statement."""
    rows = project.ask(
        "SELECT o.id, e.id, count(d.id) FROM shop_order o"
        " FULL JOIN reliable_effects_outboxevent e ON e.subject_pk = o.id::text"
        " FULL JOIN reliable_effects_delivery d ON d.event_id = e.id GROUP BY 1, 2"
    )
    assert [row for row in rows if None in row or row[2] != EFFECTS] == []
    assert len(rows) == len({order for order, _, _ in rows}) >= 2 * FEW


def judge(project: Project, evidence: Evidence, *, repeated: int) -> None:
    """*repeated*: calls before the failover whose end only the lost primary knew."""
    stands = standing(project)
    answers = [answer for answer in project.answers() if answer.order not in stands]
    gone = {answer.order for answer in answers if not answer.error}
    assert {kind(order) for order in gone} == {LATE}  # what was not received, and nothing else
    # Committed by a primary that died before it said so.
    in_doubt = {answer.order for answer in answers if answer.error}
    in_doubt &= {order_of(call) for call in project.outside.calls()}
    assert len(in_doubt) <= THREADS

    verdict = project.outside.judge(words(stands), in_doubt=words(gone | in_doubt))
    times = Counter(project.outside.calls())
    assert verdict.other_keys == 0
    assert len({call.key for call in times}) == len(times)  # no key serves two debts
    again = {kind(order_of(call)) for call, count in times.items() if count > 1}
    assert again <= {KEPT}
    assert 0 < repeated <= verdict.extra_runs <= len(OUTSIDE) * FEW
    points = project.ask("SELECT order_pk, count(*) FROM shop_ledgerentry GROUP BY order_pk")
    assert set(points) == {(pk, 1) for pk in stands.values()}
    for_nobody = sum(order_of(call) not in stands for call in times)
    assert for_nobody, "nothing was done for what was lost"
    evidence.add(
        lost=verdict.lost,
        phantom=verdict.phantom,
        extra_runs=verdict.extra_runs + for_nobody,  # promised, done, and then forgotten
    )


def standing(project: Project) -> dict[str, int]:
    """The orders that the database has, and their primary keys."""
    return dict(project.ask("SELECT charge_id, id FROM shop_order"))


def calls(project: Project, name: str) -> list[Call]:
    return [call for call in project.outside.calls() if kind(order_of(call)) == name]


def words(orders: set[str] | dict[str, int]) -> set[str]:
    return {f"{order}: {what}" for order in orders for what in OUTSIDE}


def order_of(call: Call) -> str:
    return call.what.partition(":")[0]


def kind(order: str) -> str:
    return order.rstrip("0123456789")
