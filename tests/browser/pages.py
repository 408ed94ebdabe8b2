"""Every page of the package that can be looked at, each with a row to show."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.urls import reverse

from reliable_effects.console.groups.models import FailureGroup
from reliable_effects.models import Delivery, Report
from reliable_effects.outbox.pausing import pause
from reliable_effects.reports import ask, report
from reliable_effects.testing import run_effects
from tests.console.permissions.rows import a_row, our_models

from .shop import BOOK

USAGE = "shop.usage"

# An action of each form that stands between a list and a deed.
REMEDIES = (
    ("delivery", "redrive"),
    ("delivery", "redrive_gradually"),
    ("failuregroup", "acknowledge"),
    ("failuregroup", "mark_fixed"),
    ("scheduledjob", "reschedule"),
    ("idempotencyrecord", "resolve_happened"),
)
# Nobody has these: ours are added and deleted by no person; some only answer to a POST, and a
# history is Django's page as it is.
_NOT_SEEN = (
    "_add", "_delete", "_history", "_read", "_rebuild", "_pause", "_resume", "_cancel",
)  # fmt: skip
# …but for these.
_SEEN = ("redriveoperation_add", "effectcontrol_pause", "effectcontrol_resume")


def fill() -> None:
    """A row of each model, and two versions of a report."""
    two_versions()
    for model in our_models():
        a_row(model)
    pause("shop.wrap", by="ada", why="no paper")


def two_versions() -> Report:
    """Of a report: what customers used by Tuesday, and a day later."""
    days = [("Mon", 3118), ("Tue", 2904)]
    usage = report(USAGE, allowed=lambda *_, **__: True, fresh_for=timedelta(hours=1))(
        lambda: ({"day": day, "calls": calls} for day, calls in days)
    )
    for corrected in ([("Mon", 3118), ("Tue", 2940), ("Wed", 3307)], []):
        ask(usage, usage.row({}))
        run_effects()
        days[:] = corrected
    return usage.row({})


def addresses(site: AdminSite) -> dict[str, str]:
    """Of all pages, by the names of their URLs; `fill` has been called."""
    found = {"overview": reverse(f"{site.name}:app_list", args=["reliable_effects"])}
    for model, admin in site._registry.items():
        if model._meta.app_label != "reliable_effects":
            continue
        for name in _names(admin):
            arguments, query = _arguments(name, model)
            found[name] = reverse(f"{site.name}:reliable_effects_{name}", args=arguments) + query
    return found


def _names(admin: Any) -> Iterator[str]:
    for pattern in admin.get_urls():
        name = (pattern.name or "").removeprefix("reliable_effects_")
        if name and (name in _SEEN or not name.endswith(_NOT_SEEN)):
            yield name


def _arguments(name: str, model: Any) -> tuple[list[Any], str]:
    """Of its address; and its query."""
    if name == "redriveoperation_add":
        return [], f"?group={_biggest().fingerprint}"
    if name.endswith("_changelist"):
        return [], ""
    if name.startswith("report_"):
        build = [2] if name == "report_compare" else []
        return [Report.objects.get(name=USAGE).pk, *build], ""
    shown: dict[str, Any] = {
        "effectcontrol_effect": lambda: "shop.wrap",
        "effectcontrol_resume": lambda: "shop.wrap",
        "effectcontrol_pause": lambda: "shop.thank",
        "delivery_change": lambda: _poisoned().pk,
        "delivery_edit_payload": lambda: _poisoned().pk,
        "failuregroup_change": lambda: _biggest().pk,
    }
    return [shown[name]() if name in shown else quote(a_row(model).pk)], ""


def _biggest() -> FailureGroup:
    return FailureGroup.objects.order_by("-pills")[0]


def _poisoned() -> Delivery:
    return Delivery.objects.filter(effect=BOOK).latest("pk")
