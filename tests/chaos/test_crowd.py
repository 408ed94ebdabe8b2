"""Customers keep pace with the machine: what is judged is the shop, not a backlog."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.chaos.crowd import MOST, Crowd
from tests.chaos.journal import Journal, Line, Told


def test_who_is_far_behind_gets_no_more_orders_until_it_has_caught_up(tmp_path):
    """It is asked of the partners' ledger, once a second."""
    journal, ledger = Journal(tmp_path / "journal"), tmp_path / "ledger"
    for n in range(MOST + 1):
        told = Line(way="form", name=f"{n}", customer="", told=Told.PLACED, asked_at=0, told_at=0)
        journal.write(told)
    with closing(sqlite3.connect(ledger)) as writer:
        writer.execute("CREATE TABLE arrival (partner, applied)")
        writer.commit()
        seconds = iter([0.0, 0.0, 0.5, 2.0, 2.0])
        crowd = Crowd(ledger, journal, clock=lambda: next(seconds))
        assert crowd.is_too_large()
        writer.execute("INSERT INTO arrival VALUES ('mail', 1), ('crm', 1), ('mail', 0)")
        writer.commit()

        assert crowd.is_too_large()  # it has not looked again
        assert not crowd.is_too_large()
