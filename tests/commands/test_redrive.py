"""effects_redrive says what it will do, asks, and does that."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from reliable_effects import effect, signals
from reliable_effects.console.redriving.models import RedriveOperation
from reliable_effects.effects.registry import registry
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from tests.outbox.conftest import (
    IN_STATE,
    listening,
    pending_delivery,
    poisoned_delivery,
    uncertain_delivery,
)

pytestmark = pytest.mark.django_db


def redrive(*arguments, why="partner is back") -> str:
    out = io.StringIO()
    call_command("effects_redrive", *map(str, arguments), "--why", why, stdout=out)
    return out.getvalue()


def redriven() -> set[int]:
    """Poison pills and others that wait again."""
    return set(
        Delivery.objects.filter(state=State.PENDING, attempts=0).values_list("pk", flat=True)
    )


@pytest.fixture
def answer(monkeypatch):
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_poison_pills_are_redriven_and_nothing_else():
    """The usual wish needs no option."""
    rows = {state: make(attempts=1) for state, make in IN_STATE.items()}

    out = redrive("--yes")

    assert redriven() == {rows[State.POISONED].pk}
    assert "1 redriven." in out


def test_it_says_by_class_what_it_will_do_before_it_does_it():
    """Effect, state and reason of each, and how many."""
    for _ in range(2):
        poisoned_delivery("shop.wrap")
    poisoned_delivery("shop.charge_card", reason="REFUSED")

    out = redrive("--dry-run")

    assert [" ".join(line.split()) for line in out.splitlines()] == [
        "1 shop.charge_card poisoned REFUSED will run again",
        "2 shop.wrap poisoned ATTEMPTS_SPENT will run again",
        "Nothing was changed.",
    ]
    assert not redriven()


@pytest.mark.parametrize(
    ("said", "does"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_it_asks_and_takes_no_answer_for_a_no(answer, said, does):
    """Also where nobody is there to answer, as in a job without a terminal."""
    delivery = poisoned_delivery()
    answer(said)

    if does:
        redrive()
    else:
        with pytest.raises(CommandError, match="nothing was changed"):
            redrive()

    assert redriven() == ({delivery.pk} if does else set())


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (["--effect", "shop.wrap"], {"wrap", "refused"}),
        (["--effect", "gone.effect"], {"gone"}),
        (["--reason", "refused"], {"refused"}),
        (["--effect", "shop.wrap", "--reason", "REFUSED"], {"refused"}),
        (["--state", "uncertain"], {"uncertain"}),
        (["--limit", "2"], {"wrap", "refused"}),
        (["--limit", "0"], set()),
        (["--effect", "no.such"], set()),
    ],
)
def test_options_narrow_what_is_chosen(options, chosen):
    """Together they narrow further; the limit takes the oldest."""
    rows = {
        "wrap": poisoned_delivery("shop.wrap"),
        "refused": poisoned_delivery("shop.wrap", reason="REFUSED"),
        "gone": poisoned_delivery("gone.effect"),
        "uncertain": uncertain_delivery(look_at=None),
    }

    redrive("--yes", *options)

    assert redriven() == {rows[name].pk for name in chosen}


def test_ids_name_deliveries_in_any_state_that_can_be_redriven():
    """And the others are told of."""
    rows = {state: make(attempts=1) for state, make in IN_STATE.items()}

    out = redrive("--yes", "--id", *(row.pk for row in rows.values()))

    ended = (State.SKIPPED, State.CANCELLED, State.UNCERTAIN, State.POISONED)
    assert redriven() == {rows[state].pk for state in ended}
    assert "left alone: a worker is running it" in out


def test_a_limit_that_cuts_says_so():
    """Otherwise somebody would believe that it was all."""
    for _ in range(3):
        poisoned_delivery()

    assert "More than 2 match" in redrive("--yes", "--limit", "2")


@pytest.mark.parametrize(
    ("options", "why", "said"),
    [
        (["--database", "nowhere"], "x", "DATABASES"),
        ([], "  ", "--why"),
        (["--state", "running"], "x", "invalid choice"),
        (["--reason", "BAD_LUCK"], "x", "invalid choice"),
    ],
)
def test_what_makes_no_sense_is_refused(options, why, said):
    """Before anything is changed."""
    poisoned_delivery()

    with pytest.raises(CommandError, match=said):
        redrive("--yes", *options, why=why)

    assert not redriven()


def test_the_signal_says_who_and_why(django_capture_on_commit_callbacks):
    """There is no admin entry for a command; the signal and the log have it."""
    poisoned_delivery()

    with (
        listening(signals.delivery_redriven) as told,
        django_capture_on_commit_callbacks(execute=True),
    ):
        redrive("--yes", why="ticket 7")

    (fact,) = told
    assert fact["by"]
    assert fact["why"] == "ticket 7"


def test_an_alias_finds_what_was_written_under_the_old_name():
    """Rows outlive renames."""
    with registry.scratch():
        effect("test.new", subject="shop.Order", aliases=["test.old"])(lambda *_: None)
        old, new = poisoned_delivery("test.old"), poisoned_delivery("test.new")
        pending_delivery("test.new", attempts=1)

        redrive("--yes", "--effect", "test.new")

    assert redriven() == {old.pk, new.pk}


# Gradually


def test_gradually_shows_the_preview_and_begins_an_operation():
    """The same flags; the sweep does the rest."""
    poisoned_delivery("shop.wrap")
    poisoned_delivery("shop.send_receipt")

    out = redrive("--gradually", "--effect", "shop.wrap", "--rate", 60, "--canary", 5, "--yes")

    operation = RedriveOperation.objects.get()
    assert operation.selection == {"filters": {"effect": "shop.wrap", "state": "poisoned"}}
    assert (operation.rate, operation.canary, operation.why) == (60, 5, "partner is back")
    assert "1  shop.wrap  would run" in out
    assert "takes 1 min at the least" in out
    assert f"Redrive operation {operation.pk} has begun" in out
    assert not redriven()


def test_gradually_takes_named_ones_as_the_other_options_narrow_them():
    rows = [poisoned_delivery(), poisoned_delivery(reason="REFUSED"), uncertain_delivery()]

    redrive("--gradually", "--yes", "--reason", "REFUSED", "--id", *(row.pk for row in rows))

    assert RedriveOperation.objects.get().selection == {"ids": [rows[1].pk]}


@pytest.mark.parametrize(
    ("arguments", "about"),
    [
        (["--gradually", "--effect", "shop.nothing"], "shop.nothing"),
        (["--gradually", "--id", "99999"], "No delivery"),
        (["--gradually", "--limit", "5"], "--limit"),
        (["--gradually", "--rate", "5", "--canary", "6"], "--canary"),
        (["--gradually", "--rate", "0"], "--rate"),
        (["--rate", "5"], "--gradually"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, about):
    poisoned_delivery()

    with pytest.raises(CommandError, match=about):
        redrive(*arguments, "--yes")
    assert not RedriveOperation.objects.exists()


@pytest.mark.parametrize("arguments", [["--dry-run"], []])
def test_gradually_begins_nothing_where_nobody_agrees(answer, arguments):
    poisoned_delivery()
    answer("n\n")

    if arguments:
        assert "Nothing was changed" in redrive("--gradually", *arguments)
    else:
        with pytest.raises(CommandError, match="Not confirmed"):
            redrive("--gradually")

    assert not RedriveOperation.objects.exists()
