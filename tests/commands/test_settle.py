"""effects_settle says what it will do, asks, and does that; for servers without the admin."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from tests.outbox.conftest import poisoned_delivery, uncertain_delivery

pytestmark = pytest.mark.django_db


def settle(delivery, *arguments, why="asked the bank") -> str:
    out = io.StringIO()
    chosen = ["--id", str(delivery.pk), "--why", why, *arguments]
    call_command("effects_settle", *chosen, stdout=out)
    delivery.refresh_from_db()
    return out.getvalue()


@pytest.mark.parametrize(
    ("said", "state"),
    [("--happened", State.SUCCEEDED), ("--did-not-happen", State.PENDING)],
)
def test_what_is_uncertain_becomes_what_is_said(said, state):
    delivery = uncertain_delivery(look_at=None)

    assert "will be changed" in settle(delivery, said, "--dry-run")
    assert delivery.state == State.UNCERTAIN
    settle(delivery, said, "--yes")

    assert delivery.state == state


def test_to_start_anew_what_may_have_happened_takes_ones_word():
    delivery = poisoned_delivery()

    assert "only somebody who has looked" in settle(delivery, "--start-anew", "--yes")
    assert delivery.generation == 0
    settle(delivery, "--start-anew", "--on-my-word", "--yes")

    assert (delivery.generation, delivery.state) == (1, State.PENDING)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--happened", "--on-my-word"], "x"),
        (["--happened"], "  "),
        ([], "x"),
        (["--happened", "--did-not-happen"], "x"),
        (["--happened", "--database", "nowhere"], "x"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, why):
    delivery = uncertain_delivery(look_at=None)

    with pytest.raises(CommandError):
        settle(delivery, *arguments, "--yes", why=why)

    assert Delivery.objects.get().state == State.UNCERTAIN


def test_who_does_not_agree_changes_nothing(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    delivery = uncertain_delivery(look_at=None)

    with pytest.raises(CommandError, match="nothing was changed"):
        settle(delivery, "--happened")
