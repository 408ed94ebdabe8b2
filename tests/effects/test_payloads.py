"""Payloads: what may be written comes back equal, and what may not is named."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal, NotRequired, TypedDict
from uuid import UUID

import pytest
from django.utils.safestring import mark_safe
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reliable_effects.effects.payloads import Codec
from reliable_effects.exceptions import BadPayload

LIMIT = 64 * 1024


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Loud(str, enum.Enum):  # noqa: UP042  # its str() is "Loud.YES", unlike StrEnum's
    YES = "yes"


class Size(enum.IntEnum):
    SMALL = 1


@dataclass
class Line:
    name: str
    price: Decimal
    count: int = 1


@dataclass
class Placed:
    """One field of each sort that a dataclass may have."""

    at: datetime
    day: date
    hour: time
    took: timedelta
    ident: UUID
    total: Decimal
    weight: float
    color: Color
    size: Size
    lines: list[Line]
    pair: tuple[int, str]
    tags: Sequence[str] = ()
    by_name: Mapping[str, Line] = field(default_factory=dict)
    maybe: datetime | None = None
    kind: Literal["web", "till"] = "web"
    free: Any = None
    number: int | float = 0
    is_gift: bool = False


class Address(TypedDict):
    street: str
    floor: NotRequired[int]


def codec(kind: Any = None, **options: Any) -> Codec:
    return Codec("shop.placed", kind, options.get("version", 1), options.get("upcast", {}))


def there_and_back(payload: Any, kind: Any = None) -> Any:
    return codec(kind).load(json.loads(codec(kind).dump(payload, LIMIT)), 1)


# What may be written

# No deadline: the machine may be slow, and nothing here is about speed.
few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
integers = st.integers(-(2**70), 2**70)
floats = st.floats(allow_nan=False, allow_infinity=False)
jsons = st.recursive(
    st.none() | st.booleans() | integers | floats | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
zones = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
lines = st.builds(
    Line, name=texts, price=st.decimals(allow_nan=False, allow_infinity=False), count=integers
)
orders = st.builds(
    Placed,
    at=st.datetimes(timezones=zones),
    day=st.dates(),
    hour=st.times(),
    # A float of seconds keeps every microsecond of 272 years.
    took=st.timedeltas(timedelta(days=-99_000), timedelta(days=99_000)),
    ident=st.uuids(),
    total=st.decimals(allow_nan=False, allow_infinity=False),
    weight=floats,
    color=st.sampled_from(Color),
    size=st.sampled_from(Size),
    lines=st.lists(lines, max_size=3),
    pair=st.tuples(integers, texts),
    tags=st.lists(texts, max_size=3),
    by_name=st.dictionaries(texts, lines, max_size=2),
    maybe=st.none() | st.datetimes(timezones=zones),
    kind=st.sampled_from(["web", "till"]),
    free=jsons,
    number=integers | floats,
    is_gift=st.booleans(),
)


@few
@given(st.dictionaries(texts, jsons, max_size=5))
@example({"a": -0.0, "b": 1e23, "c": 2**4096 - 1, "d": "\u2028\ufeff\U0001f600", "e": [[]], "": {}})
def test_a_plain_dict_comes_back_equal(payload):
    """What an effect reads is what the view wrote."""
    assert there_and_back(payload) == payload


@few
@given(orders)
def test_a_dataclass_comes_back_equal_and_of_its_types(payload):
    """An instant is an instant again, not a string that looks like one."""
    found = there_and_back(payload, Placed)

    assert found == payload
    assert type(found.lines) is list
    assert [type(getattr(found, f)) for f in ("at", "color", "took", "weight")] == [
        *(datetime, Color, timedelta, float)
    ]


def test_nothing_is_an_empty_payload():
    """`emit(order)` needs no payload where none is declared, or where it has defaults."""

    @dataclass
    class Coupon:
        code: str = "none"

    assert there_and_back(None) == {}
    assert there_and_back(None, Coupon) == Coupon()


def test_a_typed_dict_is_a_dict_of_json():
    """The annotation is for type checkers; at run time it is checked as well."""
    assert there_and_back({"street": "High", "floor": 3}, Address) == {"street": "High", "floor": 3}


@pytest.mark.parametrize(
    ("written", "read"),
    [(Loud.YES, "yes"), (Size.SMALL, 1), (mark_safe("<b>"), "<b>"), ((1, 2), [1, 2])],
)
def test_cousins_of_jsons_types_are_stored_as_those(written, read):
    """`str(Loud.YES)` says "Loud.YES"; its value is what was meant."""
    found = there_and_back({"it": written})["it"]

    assert found == read
    assert type(found) is type(read)


def test_keys_of_a_newer_writer_are_left_out_of_a_dataclass():
    """While two releases run, the older one reads what the newer one wrote."""
    stored = {"name": "tea", "price": "2.50", "sold_by": "weight"}

    assert codec(Line).load(stored, 1) == Line("tea", Decimal("2.50"))


# What may not: each error names the field, and says what to do


def bomb(levels: int) -> Any:
    inner: Any = 1
    for _ in range(levels):
        inner = {"a": inner}
    return inner


def cycle() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["again"] = [loop]
    return loop


@pytest.mark.fault("a payload is no JSON", rows="W9")
@pytest.mark.parametrize(
    ("payload", "place", "problem"),
    [
        ({"a": {"b": [1, float("nan")]}}, "a.b[1]", "nan"),
        ({"a": float("inf")}, "a", "inf"),
        ({"a": "x\0y"}, "a", "NUL"),
        ({"a": ["\ud800"]}, "a[0]", "surrogate"),
        ({"\ud800": 1}, "", "surrogate"),
        ({"a\0": 1}, "", "NUL"),
        ({"a": {7: "x"}}, "a", "keys of JSON objects are strings"),
        ({"a": datetime(2026, 1, 1, tzinfo=UTC)}, "a", "declare a dataclass"),
        ({"a": Decimal(1)}, "a", "declare a dataclass"),
        ({"a": {1, 2}}, "a", "is a set"),
        ({"a": b"x"}, "a", "is a bytes"),
        ({"a": Color.RED}, "a", "is a Color"),
        ({"a": 10**5000}, "a", "Store it as a string"),
        (bomb(40), ".".join("a" * 33), "nested deeper"),
        (bomb(100_000), ".".join("a" * 33), "nested deeper"),
        ([1], "", "is a list"),
        ("text", "", "is a str"),
        (Line("tea", Decimal(1)), "", "Say Event(…, payload=Line)"),
    ],
)
def test_a_bad_dict_is_refused_by_name(payload, place, problem):
    """A worker could not read it back, or a database not keep it: better the view learns it."""
    with pytest.raises(BadPayload) as raised:
        codec().dump(payload, LIMIT)

    assert raised.value.path == place
    assert problem in raised.value.problem
    assert "shop.placed" in str(raised.value)


def test_a_payload_that_contains_itself_is_refused():
    """It ends with an error about it, not with one about Python's stack."""
    with pytest.raises(BadPayload, match="nested deeper"):
        codec().dump(cycle(), LIMIT)


@dataclass
class Bad:
    it: Any = None
    when: datetime | None = None
    line: Line | None = None
    pair: tuple[int, int] = (1, 2)
    count: int = 0
    share: float = 0.0


@pytest.mark.parametrize(
    ("payload", "place", "problem"),
    [
        (Bad(when=datetime(2026, 1, 1)), "when", "naive"),  # noqa: DTZ001  # that is the point
        (Bad(when="yesterday"), "when", "not a datetime"),
        (Bad(it=Decimal("NaN")), "it", "NaN"),
        (Bad(line=Line("x", Decimal("-Infinity"))), "line.price", "Infinity"),
        (Bad(line=Line(7, Decimal(1))), "line.name", "str was declared"),
        (Bad(pair=(1, 2, 3)), "pair", "has 3 items; 2 were declared"),
        (Bad(pair=(1, "x")), "pair[1]", "int was declared"),
        (Bad(count=True), "count", "int was declared"),
        (Bad(count=1.5), "count", "int was declared"),
        (Bad(share=10**400), "share", "not a float"),
        (Bad(it=object()), "it", "is a object"),
        (Bad(it=timedelta(days=99_421, microseconds=1)), "it", "too long to keep"),
        (Bad(it=bomb(100_000)), "it." + ".".join("a" * 32), "nested deeper"),
        (Bad(it=[[Bad(it={3: 4})]]), "it[0][0].it", "keys of JSON objects are strings"),
        ({"it": 1}, "", "declared is Bad"),
        (Line("tea", Decimal(1)), "", "declared is Bad"),
    ],
)
def test_a_bad_dataclass_is_refused_by_field(payload, place, problem):
    """What would come back as something else is as bad as what cannot be written."""
    with pytest.raises(BadPayload) as raised:
        codec(Bad).dump(payload, LIMIT)

    assert (raised.value.path, problem in raised.value.problem) == (place, True), raised.value


@pytest.mark.parametrize(
    ("kind", "payload", "place"),
    [
        (Line, None, "name"),
        (Address, {}, "street"),
        (Address, None, "street"),
        (Address, {"street": 5}, "street"),
        (Address, {"street": "High", "floor": "first"}, "floor"),
    ],
)
def test_a_missing_or_wrong_field_is_named(kind, payload, place):
    """The traceback of a view should say which one, not that something does not fit."""
    with pytest.raises(BadPayload) as raised:
        codec(kind).dump(payload, LIMIT)

    assert raised.value.path == place


@dataclass
class LookAlike:
    when: str | datetime | None = None


@dataclass
class Unreadable:
    it: "Sequence[NoSuchName]" = ()  # noqa: F821, UP037  # that is the point


def test_types_that_json_spells_alike_are_refused():
    """`str | datetime` would come back as a str, whatever went in. Also while it is None."""
    with pytest.raises(BadPayload, match=r"when: is declared as str or datetime"):
        codec(LookAlike).dump(LookAlike(), LIMIT)


def test_annotations_for_type_checkers_only_are_refused():
    """A name that is imported under TYPE_CHECKING cannot be read back at run time."""
    with pytest.raises(BadPayload, match=r"Unreadable.*NoSuchName.*Import the name at run time"):
        codec(Unreadable).dump(Unreadable(), LIMIT)


def test_what_a_dataclass_itself_refuses_is_told_as_the_payloads_fault():
    """Also when a stored payload no longer satisfies it: the delivery is UNREADABLE."""

    @dataclass
    class Even:
        number: int

        def __post_init__(self) -> None:
            assert self.number % 2 == 0, "it is odd"

    with pytest.raises(BadPayload, match="does not make a Even: it is odd"):
        codec(Even).load({"number": 3}, 1)


def test_a_payload_at_the_limit_is_kept_and_a_byte_more_is_not():
    """The limit is of bytes on the disk, so `ä` counts twice."""
    fits = {"a": "ä" * ((LIMIT - 8) // 2)}

    assert len(codec().dump(fits, LIMIT).encode()) == LIMIT
    with pytest.raises(BadPayload, match=r"65537 bytes .* Store an id, not the object"):
        codec().dump({"a": fits["a"] + "x"}, LIMIT)


def test_an_error_quotes_little_of_the_payload():
    """It goes to logs, where a customer's data does not belong."""
    with pytest.raises(BadPayload) as raised:
        codec(Bad).dump(Bad(count="4111 1111 1111 1111" * 1000), LIMIT)

    assert len(str(raised.value)) < 200


# Versions


def test_an_old_payload_goes_up_step_by_step():
    """A step knows its own version and the next, however old the row is."""
    steps = {
        1: lambda old: {**old, "price": str(old.pop("cents") / 100)},
        2: lambda old: {**old, "count": 5},
    }
    stored = {"name": "tea", "cents": 250}

    found = codec(Line, version=3, upcast=steps).load(stored, 1)

    assert found == Line("tea", Decimal("2.5"), 5)
    assert stored == {"name": "tea", "cents": 250}


def broken(_: dict[str, Any]) -> dict[str, Any]:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("stored", "version", "problem"),
    [
        ({}, 1, r"Event\(upcast=\{1: …\}\) is missing"),
        ({}, 2, r"upcast\[2\] raised ZeroDivisionError"),
        ({}, 4, "of version 4; this release knows 3"),
        ([1], 3, "is a list; a dict was declared"),
        (None, 3, "is a NoneType; a dict was declared"),
    ],
)
def test_what_cannot_be_brought_to_this_version_says_why(stored, version, problem):
    """A person who reads the poison pill needs to know which step to write."""
    with pytest.raises(BadPayload, match=problem):
        codec(None, version=3, upcast={2: broken}).load(stored, version)


def test_a_step_that_gives_no_dict_is_named_as_a_misfit():
    """The commonest slip: changing the dict in place, and returning nothing."""
    with pytest.raises(BadPayload, match="is a NoneType; a dict was declared"):
        codec(None, version=2, upcast={1: lambda old: old.update(a=1)}).load({}, 1)
