"""Every page of the package in the admin: lists with each filter and search, and pages of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Max, Model
from django.test import RequestFactory
from django.urls import reverse

from reliable_effects.console.groups.models import FailureGroup
from reliable_effects.console.redriving.models import RedriveItem, RedriveOperation
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent
from reliable_effects.outbox.states import State

from .crowd import LARGE_SUBJECT, NONE, RARE, RARE_QUEUE

_CHOICES = 15  # of one filter; of fifty effects a common one, a rare one and one that has none


@dataclass(frozen=True, slots=True)
class Page:
    name: str
    address: str


def pages(user: Any) -> Iterator[Page]:
    """Those that *user* may ask for, and others: whoever asks sees which are refused."""
    yield Page("overview", reverse("admin:app_list", args=["reliable_effects"]))
    for model, its_admin in sorted(admin.site._registry.items(), key=lambda pair: pair[0].__name__):  # noqa: SLF001  # it has no other way
        if model._meta.app_label == "reliable_effects":
            yield from _list(model, its_admin, user)
            yield from _rows(model)
    yield from _deliveries()
    yield from _groups_and_redrives()
    yield from _effects()


def _address(model: type[Model], what: str, *args: Any) -> str:
    return reverse(f"admin:reliable_effects_{model._meta.model_name}_{what}", args=args)


# Lists


def _list(model: type[Model], its_admin: Any, user: Any) -> Iterator[Page]:
    name, address = model.__name__, _address(model, "changelist")
    yield Page(f"{name} list", address)
    yield Page(f"{name} list, page 2", f"{address}?p=2")
    request = RequestFactory().get(address)
    request.user = user
    shown = its_admin.get_changelist_instance(request)
    if (last := shown.paginator.num_pages) > 2:  # noqa: PLR2004  # pages that were asked for
        yield Page(f"{name} list, page {last}", f"{address}?p={last}")
    for spec in shown.filter_specs:
        for choice in _choices(list(spec.choices(shown))):
            yield Page(
                f"{name} by {spec.title}: {choice['display']}", address + choice["query_string"]
            )
    if its_admin.search_fields:
        yield Page(f"{name} search: nothing like it", f"{address}?q=nothing-like-it")


def _choices(choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [choice for choice in choices if not choice["selected"]]
    if len(found) <= _CHOICES:
        return found
    return [*found[:2], *(choice for choice in found if choice["display"] in (RARE, NONE))]


def _rows(model: type[Model]) -> Iterator[Page]:
    """The page of the newest row."""
    rows = model._default_manager  # noqa: SLF001  # the models' own, whatever it is called
    newest = rows.order_by("-pk").values_list("pk", flat=True).first()
    if newest is not None:
        yield Page(f"one {model.__name__}", _address(model, "change", newest))


# Deliveries and events

_TOGETHER = (
    f"state=poisoned&effect={RARE}",
    f"state=poisoned&effect={NONE}",
    f"state=poisoned&queue={RARE_QUEUE}",
    f"state=succeeded&effect={RARE}",
    f"state=waiting&effect={RARE}",
    f"state=retrying&effect={NONE}",
    f"state=needs+a+person&effect={RARE}",
    f"state=uncertain&effect={RARE}",
    f"due=now&effect={RARE}",
    f"due=later&effect={RARE}",
    f"due=later&queue={RARE_QUEUE}",
    f"reason=ATTEMPTS_SPENT&effect={NONE}",
    f"reason=NOT_NEEDED&effect={RARE}",
    f"queue={RARE_QUEUE}&effect={NONE}",
    "state=succeeded&queue=mail",
    "state=poisoned&reason=SUBJECT_GONE",
)


def _deliveries() -> Iterator[Page]:
    address = _address(Delivery, "changelist")
    for query in _TOGETHER:
        yield Page(f"Delivery by {query}", f"{address}?{query}")
    some = Delivery.objects.order_by("pk")[1000]
    for what, term in (
        ("a subject of many", f"shop.Order:{LARGE_SUBJECT}"),
        ("a key of many", LARGE_SUBJECT),
        ("a subject", "shop.Order:4711"),
        ("an id", f"#{some.pk}"),
        ("a key", some.key),
        ("an event", some.event_id),
        ("nothing", UUID(int=1)),
    ):
        yield Page(f"Delivery search: {what}", f"{address}?q={term}".replace("#", "%23"))
    yield Page(
        "Delivery search: a subject of many, poisoned",
        f"{address}?q={LARGE_SUBJECT}&state=poisoned",
    )
    for state in State:
        row = Delivery.objects.filter(state=state).order_by("pk").first()
        if row is not None:
            yield Page(f"one Delivery: {state.label}", _address(Delivery, "change", row.pk))
    most = Attempt.objects.aggregate(newest=Max("pk"))["newest"]
    of_hundred = Attempt.objects.get(pk=most).delivery_id
    yield Page("one Delivery: a hundred attempts", _address(Delivery, "change", of_hundred))
    pill = Delivery.objects.poisoned().order_by("-pk").first()
    assert pill is not None  # noqa: S101  # they were made
    yield Page(
        "one Delivery: edit its payload",
        f"{_address(Delivery, 'changelist')}{pill.pk}/edit-payload/",
    )
    events = _address(OutboxEvent, "changelist")
    for what, term in (
        ("a subject of many", f"shop.Order:{LARGE_SUBJECT}"),
        ("a subject", "4711"),
        ("an id", some.event_id),
    ):
        yield Page(f"OutboxEvent search: {what}", f"{events}?q={term}")


# The console


def _groups_and_redrives() -> Iterator[Page]:
    large = FailureGroup.objects.order_by("-pills")[0]
    small = FailureGroup.objects.filter(pills__gt=0).order_by("pills")[0]
    add = reverse("admin:reliable_effects_redriveoperation_add")
    for size, group in (("400,000", large), ("smallest", small)):
        yield Page(f"group: {size}", _address(FailureGroup, "change", group.pk))
        filtered = f"?group={group.fingerprint}"
        of_it = f"{_address(Delivery, 'changelist')}{filtered}"
        yield Page(f"group's deliveries: {size}", of_it)
        yield Page(f"group's deliveries: {size}, of a rare effect", f"{of_it}&effect={RARE}")
        yield Page(f"redrive preview: group, {size}", f"{add}{filtered}")
    for query in (
        "state=poisoned",
        "state=needs+a+person",
        "state=uncertain",
        "state=skipped",
        "state=cancelled",
        "reason=ATTEMPTS_SPENT",
        "reason=KILLED_WORKERS",
        f"state=poisoned&effect={RARE}",
        f"state=poisoned&effect={NONE}",
        f"state=poisoned&queue={RARE_QUEUE}",
        f"state=poisoned&q={LARGE_SUBJECT}",
    ):
        yield Page(f"redrive preview: {query}", f"{add}?{query}")
    largest = RedriveItem.objects.order_by("pk")[0].operation_id
    yield Page("redrive operation: 50,000", _address(RedriveOperation, "change", largest))


def _effects() -> Iterator[Page]:
    address = reverse("admin:reliable_effects_effectcontrol_changelist")
    yield Page("effects by event", f"{address}?by=event")
    yield Page("effects search", f"{address}?q=effect_1")
    for name in ("scale.effect_01", RARE, NONE):
        yield Page(
            f"one effect: {name}",
            reverse("admin:reliable_effects_effectcontrol_effect", args=[name]),
        )
    yield Page(
        "one effect: pause it", reverse("admin:reliable_effects_effectcontrol_pause", args=[RARE])
    )
