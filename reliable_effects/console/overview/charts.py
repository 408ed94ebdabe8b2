"""Series as lines: geometry for an SVG that needs no script and no style, and figures beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil, log10

from django.utils.timezone import localtime

from ...clock import spoken
from ..rollups.models import SPAN, bucket_of
from .history import DAY, Series

WIDTH, HEIGHT = 480, 160  # of the view box; the page scales it
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 472, 12, 134
_HOURS_APART = 6  # the marks on the axis of time
_SPANS = (60, 600, 1200, 3600, 7200, 6 * 3600, 12 * 3600, 86_400)  # seconds; halves are round too


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Words at a place of an axis."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Hour:
    """One row of the figures."""

    begin: datetime
    average: str
    highest: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One line over a day."""

    slug: str  # for ids
    title: str
    told: str  # what the line shows, in words
    line: str  # SVG paths; "" where nothing is known
    area: str
    marks: list[Mark]  # of the values, from the bottom
    times: list[Mark]
    hours: list[Hour]  # the newest first

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = _LEFT, _RIGHT, _TOP, _BOTTOM
    left_of_axis = _LEFT - 6
    under_axis = _BOTTOM + 18


def chart(
    slug: str, title: str, unit: str, series: Series, now: datetime, *, is_span: bool = False
) -> Chart:
    """*series* over the day before *now*; of seconds, where it `is_span`."""
    say = _span if is_span else _number
    last = bucket_of(now)
    known = {at: value for at, value in series.items() if last - DAY < at <= last}
    top = _nice_span(max(known.values(), default=0)) if is_span else _nice(known.values())
    stretches = list(_stretches(known, last, top))
    return Chart(
        slug=slug,
        title=title,
        told=_in_words(unit, known, say),
        line=" ".join(_line(points) for points in stretches),
        area=" ".join(
            f"{_line(points)} V{_BOTTOM} H{points[0][0]:.1f} Z"
            for points in stretches
            if len(points) > 1
        ),
        marks=[
            Mark(at=_height(share * top, top), text=say(share * top)) for share in (0.0, 0.5, 1.0)
        ],
        times=list(_times(now, last)),
        hours=list(_hours(known, say)),
    )


def _in_words(unit: str, known: Series, say: Callable[[float], str]) -> str:
    if not known:
        return f"{unit} over the last 24 hours: nothing is known yet."
    newest, peak = max(known), max(known, key=lambda at: known[at])
    return (
        f"{unit} over the last 24 hours: {say(known[newest])} at {_time(newest)},"
        f" at most {say(known[peak])} at {_time(peak)}."
    )


# Where things are


def _stretches(known: Series, last: datetime, top: float) -> Iterator[list[tuple[float, float]]]:
    """Points that follow each other without a gap."""
    points: list[tuple[float, float]] = []
    before = None
    for at in sorted(known):
        if before is not None and at - before > SPAN:
            yield points
            points = []
        points.append((_place(at, last), _height(known[at], top)))
        before = at
    if points:
        yield points


def _line(points: list[tuple[float, float]]) -> str:
    # One point alone is a line to itself: its round ends are a dot.
    rest = points[1:] or points
    return "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in (points[0], *rest))


def _place(at: datetime, last: datetime) -> float:
    return _RIGHT - (last - at) / (DAY - SPAN) * (_RIGHT - _LEFT)


def _height(value: float, top: float) -> float:
    return _BOTTOM - value / top * (_BOTTOM - _TOP)


def _times(now: datetime, last: datetime) -> Iterator[Mark]:
    """Each sixth hour of the wall, in the current time zone."""
    hour = last.replace(minute=0)
    for back in range(25):
        at = hour - timedelta(hours=back)
        place = _place(at, last)
        if localtime(at).hour % _HOURS_APART == 0 and _LEFT <= place <= _RIGHT and at <= now:
            yield Mark(at=round(place, 1), text=_time(at))


def _hours(known: Series, say: Callable[[float], str]) -> Iterator[Hour]:
    by_hour: dict[datetime, list[float]] = {}
    for at in sorted(known, reverse=True):
        by_hour.setdefault(at.replace(minute=0), []).append(known[at])
    for begin, values in by_hour.items():
        average = sum(values) / len(values)
        yield Hour(begin=begin, average=say(average), highest=say(max(values)))


# How numbers are said


def _nice(values: Collection[float]) -> float:
    """The end of an axis: 1, 2 or 5 with zeros behind, and never 0."""
    highest = max(values, default=0.0)
    if highest <= 1:
        return 1.0
    size = 10.0 ** int(log10(highest))
    return next(step * size for step in (1, 2, 5, 10) if step * size >= highest)


def _nice_span(seconds: float) -> float:
    days = 2 * _SPANS[-1]
    return next((end for end in _SPANS if end >= seconds), ceil(seconds / days) * days)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") if value < 100 else f"{value:,.0f}"  # noqa: PLR2004


def _span(seconds: float) -> str:
    return spoken(timedelta(seconds=seconds))


def _time(at: datetime) -> str:
    return localtime(at).strftime("%H:%M")
