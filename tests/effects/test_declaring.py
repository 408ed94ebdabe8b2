"""Declarations: what cannot work is refused where it is written, by name, with the way out."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
from django.core.exceptions import AppRegistryNotReady, ImproperlyConfigured
from django.db import transaction

from reliable_effects import ONCE, Backoff, EffectContext, Event, Snooze, effect
from reliable_effects.effects.registry import Registry, registry
from reliable_effects.exceptions import BadPayload, DeclaredTwice, UnknownEffect, UnknownEvent
from tests.shop.effects import charge_card
from tests.shop.events import OrderPlaced, order_placed
from tests.shop.models import Order


@pytest.fixture(autouse=True)
def _scratch() -> Iterator[None]:
    with registry.scratch():
        yield


def nothing(_subject: Any, _ctx: EffectContext[Any]) -> None:
    """The effect that no test here runs."""


# Names

NO_NAME = r"Write it like 'shop\.order_placed'"


@pytest.mark.parametrize("name", ["", "shop order", "7up", "ä", "a" * 201, "a\n", "a:b", None, 7])
def test_a_bad_name_is_refused(name):
    """It stands in rows, logs and metrics."""
    with pytest.raises(ValueError, match=NO_NAME):
        Event(name, subject=None)
    with pytest.raises(ValueError, match=NO_NAME):
        effect(name)
    with pytest.raises(ValueError, match=NO_NAME):
        effect("test.good", aliases=[name])


def test_aliases_are_a_list():
    """A string is a sequence of letters, each of which would be a name."""
    with pytest.raises(TypeError, match=r"write \['shop.old'\]"):
        effect("shop.new", aliases="shop.old")


def test_a_name_and_its_alias_differ():
    with pytest.raises(ValueError, match=r"'shop\.new': a name stands twice"):
        Event("shop.new", subject=None, aliases=["shop.new"])


@pytest.mark.parametrize("aliases", [[], ["shop.charge_card"]])
def test_two_declarations_of_one_name_are_refused(aliases):
    """A row could not say which it means, be it by the name or by an old one."""
    name = "shop.another" if aliases else "shop.charge_card"

    with pytest.raises(DeclaredTwice) as raised:
        effect(name, aliases=aliases)(nothing)
    with pytest.raises(DeclaredTwice, match=r"The event name 'shop\.order_placed'"):
        Event("shop.order_placed", subject=None)

    assert raised.value.name == "shop.charge_card"
    assert "tests.shop.effects:" in str(raised.value)
    assert "tests.effects.test_declaring:" in str(raised.value)
    assert registry.effect("shop.charge_card") is charge_card
    assert registry.find_effect("shop.another") is None


def test_a_reloaded_module_declares_the_same_again():
    """The same lines are the same declaration; the effect is owed once."""
    module = sys.modules["tests.shop.effects"]
    before = len(registry.on(order_placed))
    kept = dict(vars(module))

    importlib.reload(module)

    assert len(registry.on(order_placed)) == before
    vars(module).update(kept)


def test_effects_may_be_declared_in_a_loop():
    """All at one line of the code, and all are owed."""
    event: Event[Any, Any] = Event("test.happened", subject=None)

    for partner in ("mail", "crm", "search"):
        effect(f"test.tell_{partner}", on=event)(nothing)

    assert [e.name for e in registry.on(event)] == [
        *("test.tell_mail", "test.tell_crm", "test.tell_search")
    ]


def test_an_old_name_finds_what_is_declared_now():
    """Rows that were written before the rename wait for it."""
    renamed = effect("test.new", aliases=["test.oldest", "test.old"])(nothing)

    assert registry.effect("test.old") is renamed
    assert renamed.identity == "test.oldest"
    assert registry.effects().count(renamed) == 1


def test_what_is_not_declared_is_said_by_name():
    with pytest.raises(UnknownEffect, match=r"'test\.nowhere'"):
        registry.effect("test.nowhere")
    with pytest.raises(UnknownEvent, match=r"'test\.nowhere'"):
        registry.event("test.nowhere")


def test_what_a_test_declares_is_forgotten():
    with registry.scratch():
        made = effect("test.short_lived", on=order_placed)(nothing)
        assert made in registry.on(order_placed)

    assert made not in registry.on(order_placed)
    assert registry.find_effect("test.short_lived") is None


def test_before_django_is_set_up_nothing_is_emitted():
    """A script without django.setup() would else fail in the depths of the ORM."""
    with pytest.raises(AppRegistryNotReady, match=r"INSTALLED_APPS.*django\.setup\(\)"):
        _ = Registry().writer


# Effects that would not run


async def a_coroutine(_subject: Any, _ctx: Any) -> None:
    """Calling it runs nothing."""


class AnObject:
    async def __call__(self, _subject: Any, _ctx: Any) -> None:
        """Calling it runs nothing either."""


async def an_async_generator(_subject: Any, _ctx: Any) -> Any:
    yield


@pytest.mark.parametrize(
    "function",
    [a_coroutine, functools.partial(a_coroutine), AnObject(), an_async_generator],
    ids=["def", "partial", "object", "generator"],
)
def test_an_async_effect_is_refused(function):
    """It would count as done before it had begun."""
    with pytest.raises(TypeError, match=r"'test.late' is an async def.*async_to_sync"):
        effect("test.late")(function)


@pytest.mark.parametrize("question", ["verify", "still_needed"])
def test_an_async_question_is_refused(question):
    """A coroutine is true: everything would have happened, and everything be needed."""
    with pytest.raises(TypeError, match=f"{question}= of effect 'test.late' is an async def"):
        effect("test.late", **{question: a_coroutine})


def test_a_generator_is_refused():
    def yields(_subject: Any, _ctx: Any) -> Any:
        yield

    with pytest.raises(TypeError, match=r"'test.late' is a generator.*yield"):
        effect("test.late")(yields)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"harmless_to_repeat": True, "atomic": True}, "neither atomic=True nor verify="),
        ({"harmless_to_repeat": True, "verify": nothing}, "neither atomic=True nor verify="),
        ({"max_attempts": 0}, "max_attempts=0; .*the first run counts"),
        ({"max_attempts": 100_000}, "max_attempts=100000"),
        ({"timeout": 30}, "timeout=30; give a positive timedelta"),
        ({"timeout": timedelta(0)}, "timeout=.*positive"),
        ({"timeout": timedelta.max}, "timeout=.*at most 3653 days"),
        ({"max_runtime": timedelta(seconds=-1)}, "max_runtime=.*positive"),
        ({"expires_after": "1h"}, "expires_after='1h'"),
        ({"queue": ""}, "queue=''"),
        ({"queue": "q" * 101}, "queue='qqq.*100 characters"),
        ({"subject_gone": "ignore"}, "subject_gone='ignore'.*'poison', 'skip', 'run'"),
        ({"subject": "Order"}, "'Order'; write it like 'shop.Order'"),
        ({"subject": "shop.Order", "on": order_placed}, "leave subject= out"),
    ],
)
def test_an_option_that_cannot_work_is_named(options, problem):
    """At import, where the traceback shows the line."""
    with pytest.raises(ValueError, match=problem) as raised:
        effect("test.wrong", **options)(nothing)

    assert "test.wrong" in str(raised.value)


def test_an_effect_is_still_the_function_it_was():
    """To be called in a test, or from a shell."""
    called = []
    made = effect("test.call_me", subject="shop.Order")(lambda *args: called.append(args))

    made(Order(pk=1), None)

    assert called == [(Order(pk=1), None)]


# Owed queries


def test_only_a_row_can_owe_something():
    made = effect("test.nightly")(nothing)

    with pytest.raises(ValueError, match=r"'test.nightly' has no subject"):
        made.owed(since="placed_at", grace=timedelta(0), debt=ONCE)


def test_an_effect_has_one_owed_query():
    """Two would have to agree."""
    with pytest.raises(ValueError, match=r"'shop.charge_card' has an owed query already"):
        charge_card.owed(since="placed_at", grace=timedelta(0), debt=ONCE)


def test_a_debt_is_once_or_a_function():
    """`debt="month"` looks right, and would fail at the first emit."""
    made = effect("test.invoice", subject="shop.Order")(nothing)

    with pytest.raises(TypeError, match=r"'test.invoice': debt='month'; give ONCE, or a function"):
        made.owed(since="placed_at", grace=timedelta(0), debt="month")


# Events


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"subject": Order}, "write it like 'shop.Order'"),
        ({"subject": "shop.Order.x"}, "write it like 'shop.Order'"),
        ({"subject": None, "subject_aliases": ["Order"]}, "'Order'; write it like 'shop.Order'"),
        ({"subject": None, "version": 0}, "version=0; versions count from 1"),
        ({"subject": None, "version": "2"}, "version='2'"),
        ({"subject": None, "version": 2, "upcast": {2: dict}}, r"upcast\[2\] leads nowhere"),
        ({"subject": None, "upcast": {0: dict}}, r"upcast\[0\] leads nowhere"),
    ],
)
def test_an_event_that_cannot_work_is_refused(options, problem):
    with pytest.raises(ValueError, match=problem) as raised:
        Event("test.wrong", **options)

    assert "test.wrong" in str(raised.value)


def test_a_payload_is_a_dataclass_or_a_typed_dict():
    with pytest.raises(TypeError, match=r"'test.wrong': payload=.*int.*a dataclass or a TypedDict"):
        Event("test.wrong", subject=None, payload=int)


# Types from annotations


@dataclass
class Coupon:
    code: str


def module_with(annotations: dict[str, Any], **names: Any) -> ModuleType:
    """An `events` module whose annotations are text, as under `from __future__`."""
    module = ModuleType("test_events")
    vars(module).update(Event=Event, Order=Order, Coupon=Coupon, Any=Any, **names)
    module.__annotations__ = annotations
    return module


def test_an_annotation_says_the_payloads_type():
    """It is written once, for the type checker and for us."""
    used: Event[Any, Any] = Event("test.used", subject="shop.Order")
    module = module_with({"used": "Event[Order, Coupon]"}, used=used)

    registry.read_annotations(module)

    assert used.payload_type is Coupon
    assert order_placed.payload_type is OrderPlaced


def test_a_promise_knows_the_type_that_an_annotation_declares(db):  # noqa: ARG001
    """The annotation is read after the effects module was imported."""
    used: Event[Any, Any] = Event("test.used", subject="shop.Order")
    give = effect("test.give", on=used)(nothing)
    registry.read_annotations(module_with({"used": "Event[Order, Coupon]"}, used=used))

    with transaction.atomic():
        give.promise(Order.objects.create(), Coupon("TEA"))
        with pytest.raises(BadPayload, match="code"):
            give.promise(Order.objects.create(), Coupon(code=5))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "annotation",
    ["Event[Order, dict[str, str]]", "Event[Order, Any]", "Event[Order, None]", "Event"],
)
def test_some_annotations_say_that_payloads_are_plain(annotation):
    used: Event[Any, Any] = Event("test.used", subject="shop.Order")

    registry.read_annotations(module_with({"used": annotation}, used=used))

    assert used.payload_type is None


def test_other_annotations_of_the_module_are_nobodys_business():
    """They may be for type checkers only, and their values may compare as they please."""

    class Peculiar:
        def __eq__(self, other: object) -> bool:
            raise NotImplementedError

        __hash__ = None  # type: ignore[assignment]

    used: Event[Any, Any] = Event("test.used", subject="shop.Order")
    annotations = {"it": "NotImported", "used": "Event[Order, Coupon]", "gone": "int"}

    registry.read_annotations(module_with(annotations, it=Peculiar(), used=used))

    assert used.payload_type is Coupon


def test_an_annotation_that_cannot_be_read_is_refused():
    """Else the payload would be a plain dict, and the effect find no attributes on it."""
    used: Event[Any, Any] = Event("test.used", subject="shop.Order")
    module = module_with({"used": "Event[Order, NotImported]"}, used=used)

    with pytest.raises(ImproperlyConfigured, match=r"test_events.*used.*NotImported.*payload="):
        registry.read_annotations(module)


def test_a_payload_that_was_given_wins_over_the_annotation():
    used: Event[Any, Any] = Event("test.used", subject=None, payload=OrderPlaced)

    registry.read_annotations(module_with({"used": "Event[Order, Coupon]"}, used=used))

    assert used.payload_type is OrderPlaced


# Backoff and outcomes


def test_the_rest_after_a_failure_doubles_up_to_its_longest():
    rest = Backoff(first=timedelta(seconds=10), longest=timedelta(minutes=1))

    assert [rest.ceiling(n).total_seconds() for n in (1, 2, 3, 4, 10_000)] == [10, 20, 40, 60, 60]
    assert all(timedelta(0) <= rest.delay(3) <= timedelta(seconds=40) for _ in range(100))


def test_nobody_rests_before_the_first_failure():
    with pytest.raises(ValueError, match="counted from 1"):
        Backoff().ceiling(0)


@pytest.mark.parametrize(("first", "longest"), [(-1, 5), (10, 5), (1, 10**10)])
def test_a_backoff_that_shrinks_or_has_no_end_is_refused(first, longest):
    with pytest.raises(ValueError, match="0 <= first <= longest"):
        Backoff(first=timedelta(seconds=first), longest=timedelta(seconds=longest))


@pytest.mark.parametrize("span", [60, timedelta(seconds=-1), None])
def test_a_snooze_is_a_span(span):
    """`Snooze(60)`: seconds, or minutes?"""
    with pytest.raises(ValueError, match="give a timedelta"):
        Snooze(span)
