"""effects_pause and effects_resume say what they did, and refuse what would do nothing."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from reliable_effects.controls.models import EffectControl
from tests.outbox.conftest import carry_out, make_effect, pending_delivery  # noqa: F401  # a fixture

pytestmark = pytest.mark.django_db


def ask(command: str, *arguments: object, why: str = "the bank is away") -> str:
    out = io.StringIO()
    call_command(command, *map(str, arguments), "--why", why, stdout=out)
    return out.getvalue()


def test_it_pauses_and_resumes(make_effect):  # noqa: F811
    """And says how many deliveries waited."""
    row = pending_delivery(make_effect())

    assert "until it is resumed" in ask("effects_pause", row.effect)
    carry_out(row)
    status = io.StringIO()
    call_command("effects_status", stdout=status)
    assert "the bank is away" in status.getvalue()

    assert "1 brought back" in ask("effects_resume", row.effect)
    assert not EffectControl.objects.paused().exists()


def test_a_pause_may_have_an_end(make_effect):  # noqa: F811
    """In minutes, which everybody can type at night."""
    effect = make_effect()

    out = ask("effects_pause", effect.name, "--minutes", 30)

    control = EffectControl.objects.get()
    assert control.paused_until is not None
    assert f"until {control.paused_until:%Y-%m-%d %H:%M} UTC" in out


@pytest.mark.parametrize(
    ("arguments", "why", "said"),
    [
        (["shop.chrage"], "broken", "shop.chrage"),
        (["shop.send_reciept"], "broken", "Did you mean 'shop.send_receipt'?"),
        (["shop.send_receipt"], " ", "reason"),
        (["shop.send_receipt", "--minutes", 0], "broken", "--minutes is 0"),
        (["shop.send_receipt", "--database", "nowhere"], "broken", "nowhere"),
    ],
)
def test_what_would_do_nothing_is_refused(arguments, why, said):
    """Else somebody goes to bed and believes that it is paused."""
    with pytest.raises(CommandError, match=said):
        ask("effects_pause", *arguments, why=why)

    assert not EffectControl.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "why", "said"),
    [(["shop.chrage"], "back", "shop.chrage"), (["shop.send_receipt"], " ", "--why is empty")],
)
def test_so_is_a_resumption(arguments, why, said):
    """The same."""
    with pytest.raises(CommandError, match=said):
        ask("effects_resume", *arguments, why=why)


def test_what_was_not_paused_is_said_to_be_so():
    """Somebody has resumed it, or it was another one that is paused."""
    assert "was not paused, on default" in ask("effects_resume", "shop.send_receipt")

    with pytest.raises(CommandError, match=r"Did you mean 'shop.send_receipt'\?"):
        ask("effects_resume", "shop.send_reciept")
