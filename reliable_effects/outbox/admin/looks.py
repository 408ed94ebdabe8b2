"""How values look: text in, escaped HTML out. No colour says what the words do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from django.apps import apps
from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import localtime

from ...clock import spoken
from ...effects.registry import registry
from .. import redaction
from ..models import Delivery
from ..states import SET_ASIDE, Flag, State
from .reader import may_open

NOTHING = "-"
_HIDDEN = mark_safe('<p class="help">What looks secret is hidden.</p>')  # no value is in it


class AboutSubject(Protocol):
    """An event, or what will be one."""

    subject_model: Any
    subject_pk: Any


def state(row: Delivery) -> SafeString:
    return badge(state_name(row))


def badge(name: str) -> SafeString:
    """The name of a state, tinted by the first word of it."""
    return format_html('<span class="re-state re-{}">{}</span>', name.partition(",")[0], name)


def state_name(row: Delivery) -> str:
    if row.state == State.PENDING and row.attempts:
        return "retrying"
    if needs_a_person(row) and row.state == State.UNCERTAIN:
        return "uncertain, needs a person"
    return State(row.state).label


def needs_a_person(row: Delivery) -> bool:
    return row.state in SET_ASIDE and row.look_at is None


def reason(row: Delivery) -> str:
    told = row.get_reason_display()
    return format_html('<span class="re-reason">{}</span>', told) if told else NOTHING


def attempts(row: Delivery) -> str:
    effect = registry.find_effect(row.effect)
    return f"{row.attempts}/{effect.max_attempts if effect else '?'}"


def moment(at: datetime | None) -> str:
    """How far away, and on which side of now; the instant itself is in the title."""
    if at is None:
        return NOTHING
    span = at - datetime.now(UTC)
    told = f"in {spoken(span)}" if span > timedelta(seconds=1) else f"{spoken(span)} ago"
    stamp = localtime(at)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        stamp.isoformat(), stamp.strftime("%Y-%m-%d %H:%M:%S %Z"), told,
    )  # fmt: skip


def instant(at: datetime | None) -> str:
    if at is None:
        return NOTHING
    return format_html("{} ({})", localtime(at).strftime("%Y-%m-%d %H:%M:%S %Z"), moment(at))


def pre(text: str) -> str:
    # A long one scrolls by itself, and who has no mouse has to get into it.
    return format_html('<pre class="re-text" tabindex="0">{}</pre>', text) if text else NOTHING


def payload(name: str, value: Any) -> str:
    """A payload of the event *name*, or what else somebody gave us: without what looks secret."""
    text, is_all = redaction.shown(name, value)
    return pre(text) if is_all else format_html("{}{}", pre(text), _HIDDEN)


def edited(shown: str, edit: int) -> str:
    """*shown*, and that it is what a person has put in the place of the event's payload."""
    return format_html('{}<p class="help">Edited by a person: edit {}.</p>', shown, edit)


def subject(event: AboutSubject) -> str:
    """`shop.Order:42`, as it may be typed into the search."""
    if not event.subject_model:
        return NOTHING
    model = _model(event.subject_model)
    return f"{model._meta.label if model else event.subject_model}:{event.subject_pk}"


def subject_link(event: AboutSubject, site: AdminSite, request: HttpRequest) -> str:
    """A link for who may open it: the page is the project's, and so are its permissions."""
    model = _model(event.subject_model)
    text = subject(event)
    if model is None or not may_open(model, site, request):
        return text
    return page(model, event.subject_pk, text, site.name)


def page(model: type[Model], pk: Any, text: str, site: str) -> str:
    """A link to a row's page on the admin site named *site*; the text alone where it has none."""
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
    try:
        address = reverse(name, args=[quote(str(pk))], current_app=site)
    except NoReverseMatch:
        return text
    return format_html('<a href="{}">{}</a>', address, text)


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    body = format_html_join(
        "",
        "<tr>{}</tr>",
        ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows),
    )
    if not body:
        return NOTHING
    head = format_html_join("", '<th scope="col">{}</th>', ((name,) for name in heads))
    return format_html(
        '<table class="re-table"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>', head, body
    )


def what_next(row: Delivery) -> str:
    """One sentence: who acts next, and when."""
    match State(row.state):
        case State.PENDING:
            return format_html("A worker takes it up (due {}).", moment(row.due_at))
        case State.RUNNING:
            return format_html(
                "{} has it; where it is not heard of, others take over {}.",
                row.worker or "A worker", moment(row.lease_expires_at),
            )  # fmt: skip
        case State.UNCERTAIN if row.look_at is not None:
            return format_html("A worker asks what became of it (due {}).", moment(row.due_at))
        case State.UNCERTAIN:
            return "A person finds out whether it happened, and settles it."
        case State.POISONED:
            return "A person mends the cause and redrives it, or cancels it."
        case _:
            return "Nothing: it has ended."


_NOTES: dict[str, Callable[[Any], str]] = {
    "round": lambda n: f"Round {n + 1}: snoozes and people begin a new one.",
    "kills": lambda n: f"Its worker died {n} times while it ran.",
    "snoozed": lambda n: f"Snoozed for {spoken(timedelta(seconds=n))} in all.",
    "verifies": lambda n: f"Asked {n} times what became of it.",
    "denied": lambda _: "It was found that it had not happened.",
    "absent": lambda _: "It has not run since.",
    "edit": lambda n: f"It runs with the payload of edit {n}, not with its event's.",
    "unknown_since": lambda at: f"No worker has known its effect since {at}.",
}
_FLAGS = {
    Flag.ALONE: "It died while running, so it runs alone.",
    Flag.FORGIVEN: "One attempt was given back: the whole fleet was away.",
    Flag.VERIFYING: "What runs is the question what became of it, not the effect.",
}


def notes(row: Delivery) -> str:
    """What is rare about a delivery, in words; what we have no words for as it is stored."""
    told = [words for flag, words in _FLAGS.items() if row.flags & flag]
    noted = row.notes or {}
    for name, value in noted.items() if isinstance(noted, dict) else [("not by us", noted)]:
        try:
            told.append(_NOTES[name](value))
        except (KeyError, TypeError, ValueError, OverflowError):
            told.append(f"{name}: {value}")
    return format_html_join(" ", "{}", ((words,) for words in told)) or NOTHING


def _model(label: str) -> type[Model] | None:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        return None  # renamed or gone; the event outlives it
