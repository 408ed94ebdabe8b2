"""
Who may do what in the admin: every page and every remedy of the package, in two tables.

A page, action or address that stands in neither fails `test_every_page_and_action_is_in_the_table`.
What a new one needs here is one line, and a row that its remedy can change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.urls import reverse

from reliable_effects.clock import DbNow
from reliable_effects.console.redriving import operations
from reliable_effects.console.redriving.selection import Selection
from reliable_effects.models import (
    EffectControl,
    FailureGroup,
    GroupState,
    IdempotencyRecord,
    ScheduledJob,
)
from reliable_effects.outbox import edits
from reliable_effects.reports.definition import definition
from tests.outbox.conftest import pending_delivery, poisoned_delivery, uncertain_delivery

from .rows import a_row

REPORT = "permissions.usage"  # declared by a fixture
Row = Any


@dataclass(frozen=True, kw_only=True)
class Page:
    """Something that is looked at. `needs` None: nobody has it, superusers neither."""

    needs: Sequence[str] | None
    arguments: Callable[[Row], list[Any]] = lambda row: [quote(row.pk)]
    query: str = ""


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """Something that is done, on its page (`address`), or as an action of the list."""

    needs: str  # beside the permission to view
    row: Callable[[], Row]
    data: Callable[[Row], dict[str, Any]] = lambda _: {}
    address: str = ""
    arguments: Callable[[Row], list[Any]] = lambda row: [quote(row.pk)]
    view: Sequence[str] = ()  # to view it; its model's, where nothing is said


def standard(*models: str, view: bool = True) -> dict[str, Page]:
    """What Django has for each model. Ours add and delete nothing."""
    pages: dict[str, Page] = {}
    for model in models:
        seen = (f"view_{model}",) if view else None
        pages |= {
            f"{model}_changelist": Page(needs=seen, arguments=lambda _: []),
            f"{model}_change": Page(needs=seen),
            f"{model}_history": Page(needs=seen),
            f"{model}_add": Page(needs=None, arguments=lambda _: []),
            f"{model}_delete": Page(needs=None),
        }
    return pages


PAGES: dict[str, Page] = {
    **standard(
        "delivery", "outboxevent", "sweep", "outgoingcall", "scheduledjob", "walk", "coverage",
        "alert", "inboxmessage", "idempotencyrecord", "report", "effectcontrol", "failuregroup",
        "redriveoperation",
    ),
    "delivery_edit_payload": Page(
        needs=("view_delivery", "view_outboxevent", "edit_payload_delivery")
    ),
    "redriveoperation_add": Page(
        needs=("view_delivery", "redrive_delivery"), arguments=lambda _: [], query="?state=poisoned"
    ),
    "report_compare": Page(needs=("view_report",), arguments=lambda row: [row.pk, 1]),
    # The report's own `allowed=` is asked as well; whoever reads it leaves a row of that.
    "report_read": Page(needs=("view_report",)),
    "effectcontrol_effect": Page(
        needs=("view_effectcontrol",), arguments=lambda row: [row.effect]
    ),
    "effectcontrol_pause": Page(
        needs=("view_effectcontrol", "pause_effect"), arguments=lambda _: ["shop.wrap"]
    ),
    "effectcontrol_resume": Page(
        needs=("view_effectcontrol", "pause_effect"), arguments=lambda row: [row.effect]
    ),
}  # fmt: skip


def _for_a_person() -> Row:
    return uncertain_delivery(look_at=None)


def _surely_not_happened() -> Row:
    return poisoned_delivery(notes={"absent": 1})


def _paused() -> Row:
    return EffectControl.objects.create(effect="shop.thank", paused_at=DbNow())


def _never_ran() -> Row:
    return pending_delivery()


def _acknowledged() -> Row:
    row = a_row(FailureGroup)
    FailureGroup.objects.filter(pk=row.pk).update(state=GroupState.ACKNOWLEDGED)
    return row


def _report() -> Row:
    found = definition(REPORT)
    assert found is not None
    return found.row({})


def _operation() -> Row:
    return operations.begin(
        "default", Selection.of_query({"state": ["poisoned"]}), by="ada", why="it is mended",
        rate=600, canary=10, halt_percent=50,
    )  # fmt: skip


def _paused_operation() -> Row:
    row = _operation()
    assert operations.pause(row, by="ada", why="lunch")
    return row


def _edit(row: Row) -> dict[str, Any]:
    """As its page asks for it, confirmed. It has run, so it gets a new key."""
    return {
        "step": "confirm", "payload": '{"customer": "another"}', "shown": edits.stamp(row),
        "did_not_happen": "on",
    }  # fmt: skip


def _chosen(_: Row) -> dict[str, Any]:
    selection = Selection.of_query({"state": ["poisoned"]}).to_json()
    return {"selection": json.dumps(selection), "rate": 60, "canary": 5, "halt_percent": 50}


WALL = {"wall": "2099-07-01T09:00", "zone": "Europe/Berlin"}

ASKS = {"delivery.redrive_gradually": "redrive_delivery"}
"""Actions that lead to a page which asks, and change nothing themselves; and what they need."""

REMEDIES: dict[str, Remedy] = {
    "delivery.redrive": Remedy(needs="redrive_delivery", row=poisoned_delivery),
    "delivery.cancel": Remedy(needs="cancel_delivery", row=poisoned_delivery),
    "delivery.settle_happened": Remedy(needs="settle_delivery", row=_for_a_person),
    "delivery.settle_not_happened": Remedy(needs="settle_delivery", row=_for_a_person),
    "delivery.start_anew": Remedy(needs="start_anew_delivery", row=_surely_not_happened),
    "scheduledjob.run_now": Remedy(
        needs="run_scheduledjob", row=lambda: a_row(ScheduledJob)
    ),
    "scheduledjob.reschedule": Remedy(
        needs="reschedule_scheduledjob", row=lambda: a_row(ScheduledJob), data=lambda _: WALL
    ),
    "scheduledjob.cancel": Remedy(
        needs="cancel_scheduledjob", row=lambda: a_row(ScheduledJob)
    ),
    "idempotencyrecord.resolve_happened": Remedy(
        needs="resolve_idempotencyrecord", row=lambda: a_row(IdempotencyRecord),
        data=lambda _: {"status": "201"},
    ),
    "idempotencyrecord.resolve_did_not": Remedy(
        needs="resolve_idempotencyrecord", row=lambda: a_row(IdempotencyRecord)
    ),
    "report_rebuild": Remedy(needs="rebuild_report", row=_report, address="report_rebuild"),
    "effectcontrol_pause": Remedy(
        needs="pause_effect", row=lambda: None, address="effectcontrol_pause",
        arguments=lambda _: ["shop.wrap"],
    ),
    "effectcontrol_resume": Remedy(
        needs="pause_effect", row=_paused, address="effectcontrol_resume",
        arguments=lambda row: [row.effect],
    ),
    "delivery_edit_payload": Remedy(
        needs="edit_payload_delivery", row=_never_ran, address="delivery_edit_payload", data=_edit,
        view=("view_delivery", "view_outboxevent"),
    ),
    "failuregroup.acknowledge": Remedy(
        needs="triage_failuregroup", row=lambda: a_row(FailureGroup)
    ),
    "failuregroup.mark_fixed": Remedy(
        needs="triage_failuregroup", row=lambda: a_row(FailureGroup),
        data=lambda _: {"release": "v2"},
    ),
    "failuregroup.reopen": Remedy(needs="triage_failuregroup", row=_acknowledged),
    "redriveoperation_add": Remedy(
        needs="redrive_delivery", row=poisoned_delivery, address="redriveoperation_add",
        arguments=lambda _: [], data=_chosen, view=("view_delivery",),
    ),
    "redriveoperation_pause": Remedy(
        needs="redrive_delivery", row=_operation, address="redriveoperation_pause",
        view=("view_delivery",),
    ),
    "redriveoperation_resume": Remedy(
        needs="redrive_delivery", row=_paused_operation, address="redriveoperation_resume",
        view=("view_delivery",),
    ),
    "redriveoperation_cancel": Remedy(
        needs="redrive_delivery", row=_operation, address="redriveoperation_cancel",
        view=("view_delivery",),
    ),
}  # fmt: skip


PARTS: dict[tuple[str, str], str] = {
    ("delivery_change", "<dt>message</dt>"): "view_attempt",
    ("delivery_change", "Calls to partners"): "view_outgoingcall",
    ("delivery_change", "Payload:"): "view_outboxevent",
    ("outboxevent_change", "Deliveries:"): "view_delivery",
    ("report_change", "Versions:"): "view_reportversion",
    ("report_change", "Downloads:"): "view_reportdownload",
    ("report_change", "Rebuild"): "rebuild_report",
    ("effectcontrol_effect", "Pause…"): "pause_effect",
}
"""What of a page needs a permission of its own, by what can be read there."""


def model_of(name: str) -> str:
    return name.partition(".")[0].partition("_")[0]


def address(site: AdminSite, name: str, arguments: Sequence[Any]) -> str:
    return reverse(f"{site.name}:reliable_effects_{name}", args=arguments)


def confirm(site: AdminSite, client: Any, name: str, row: Row, why: str = "because") -> Any:
    """Try the remedy on *row*, as a person who has read its page confirms it."""
    remedy = REMEDIES[name]
    data = {"why": why, **remedy.data(row)}
    if remedy.address:
        return client.post(address(site, remedy.address, remedy.arguments(row)), data)
    action = {"action": name.partition(".")[2], "_selected_action": str(row.pk)}
    chosen = {"ids": str(row.pk), "shown": ""}
    return client.post(address(site, f"{model_of(name)}_changelist", []), data | action | chosen)
