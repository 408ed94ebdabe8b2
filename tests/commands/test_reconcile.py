"""effects_reconcile says what is owed by class, asks, and promises what nobody has promised."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from tests.outbox.conftest import make_effect  # noqa: F401  # a fixture
from tests.reconcile.conftest import (  # noqa: F401  # fixtures
    _nobody_else_owes,
    an_order,
    charge,
    ended,
    make_owed,
)
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


def reconcile(*arguments) -> str:
    out = io.StringIO()
    call_command("effects_reconcile", *map(str, arguments), stdout=out)
    return out.getvalue()


def test_it_says_by_class_what_it_would_do_and_does_nothing(charge):  # noqa: F811  # the fixture
    an_order()
    ended(charge, an_order(), timedelta(0), state=State.CANCELLED)

    out = reconcile("--dry-run")

    assert (
        "1  unaccounted: nobody has promised it: its delivery is missing → will be promised" in out
    )
    assert "1  cancelled: a person gave it up\n" in out
    assert "Nothing was changed." in out
    assert Delivery.objects.count() == 1


def test_it_promises_what_is_missing_when_it_is_told_to(charge, monkeypatch):  # noqa: F811
    an_order()
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))

    out = reconcile(charge.name)

    assert "test.charge: 1 promised or reopened." in out
    assert Delivery.objects.get().state == State.PENDING


@pytest.mark.usefixtures("charge")
def test_without_a_yes_nothing_is_changed(monkeypatch):
    an_order()
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))

    with pytest.raises(CommandError, match="nothing was changed"):
        reconcile()

    assert not Delivery.objects.exists()


@pytest.mark.usefixtures("charge")
def test_it_is_cut_short_at_its_limit_and_says_so():
    for _ in range(3):
        an_order()

    out = reconcile("--yes", "--limit", 2)

    assert Delivery.objects.count() == 2
    assert "1 are left: cut short by --limit. Run it again." in out


@pytest.mark.usefixtures("charge")
def test_since_leaves_out_what_is_older():
    an_order(9 * DAY)
    recent = an_order(DAY)

    reconcile("--yes", "--since", (recent.placed_at - DAY).date())

    assert [row.event.subject_pk for row in Delivery.objects.all()] == [str(recent.pk)]


@pytest.mark.usefixtures("charge")
def test_nothing_owed_is_said_in_words():
    assert "nothing is owed past its grace" in reconcile()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["test.no_such"], "No effect 'test.no_such' is declared. With an owed query: test.charge"),
        (["shop.wrap"], "'shop.wrap' has no owed query on 'default'"),
        (["--since", "yesterday"], "--since 'yesterday' is no instant; write 2026-11-28"),
        (["--since", "2026-13-40"], "--since '2026-13-40'"),
        (["--limit", "-1"], "--limit is below 0"),
        (["--database", "other"], "'other' is not in RELIABLE_EFFECTS"),
    ],
)
@pytest.mark.usefixtures("charge")
def test_bad_input_is_named(arguments, error):
    with pytest.raises(CommandError, match=error):
        reconcile(*arguments)


def test_a_query_that_fails_keeps_no_other_from_being_asked(make_owed):  # noqa: F811
    """The others are promised what nobody had promised them, and the exit code tells."""
    make_owed(query=lambda: Order.objects.filter(no_such_field=1), name="test.a_broken")
    whole = make_owed(name="test.b_whole")
    an_order()

    with pytest.raises(CommandError, match=r"owed to test\.a_broken could not be asked"):
        reconcile("--yes")

    assert [row.effect for row in Delivery.objects.all()] == [whole.name]
