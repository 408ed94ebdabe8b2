"""
The page of effects: every one that is declared, how it is to be run, how it stands, and its pause.

It lists the registry, not rows; what is paused here and unknown to this release stands in front.
To pause and to resume need a permission of their own, a reason and a POST, and leave an entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.timezone import localtime
from django.views.decorators.http import require_http_methods, require_safe

from ...conf import settings
from ...controls.models import EffectControl
from ...effects.effect import Effect
from ...effects.registry import registry
from ...exceptions import BadPause, UnknownEffect
from ...outbox import pausing
from ...outbox.admin import looks
from ...outbox.admin.confirming import AT_MOST, WhyForm
from ...outbox.admin.pages import ReadOnlyAdmin
from ...outbox.models import Delivery
from ..links import changelist, effect_page
from . import lines, policy, standing
from .forms import PauseForm, ResumeForm
from .history import entries, entry

_STATES = ("needs a person", "retrying", "waiting", "running", "succeeded")  # of the filter

asked_for = method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
shown = method_decorator(require_safe)


class EffectControlAdmin(ReadOnlyAdmin):
    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        name = "reliable_effects_effectcontrol"
        of = "effect/<path:name>"
        return [
            path(f"{of}/pause/", wrap(self.pause_view), name=f"{name}_pause"),
            path(f"{of}/resume/", wrap(self.resume_view), name=f"{name}_resume"),
            path(f"{of}/", wrap(self.effect_view), name=f"{name}_effect"),
            *super().get_urls(),
        ]

    def has_pause_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("reliable_effects.pause_effect")

    # To be seen

    @shown
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self._let_in(request)
        term = request.GET.get("q", "")
        is_by_event = request.GET.get("by") == "event"
        standings = standing.everywhere()
        groups = (lines.by_event if is_by_event else lines.by_app)(standings, term)
        context = {
            "title": "Effects",
            "term": term,
            "is_by_event": is_by_event,
            "other_order": "?" + urlencode({"q": term} | ({} if is_by_event else {"by": "event"})),
            "groups": [(group, [self._row(line) for line in group.lines]) for group in groups],
            "count": len({line.name for group in groups for line in group.lines}),
            "away": [each.using for each in standings if each.is_away],
            "since": _since(standings),
            **(extra_context or {}),
        }
        return self._page(request, "effects", context)

    @shown
    def effect_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """One effect: what was declared, how it stands on each database, who paused it and why."""
        self._let_in(request)
        name, effect = self._meant(name)
        standings = standing.everywhere()
        context = {
            "title": name,
            "effect": effect,
            "about": (effect.__doc__ or "").strip() if effect else "",
            "policy": policy.in_words(effect) if effect else [],
            "standing": [_told(each, name) for each in standings],
            "since": _since(standings),
            "is_paused": any(name in each.pauses for each in standings),
            "may_pause": self.has_pause_permission(request),
            "pause_address": self._address("pause", name),
            "resume_address": self._address("resume", name),
            "deliveries": self._deliveries(name) if effect else [],
            "history": entries(registry.names_like(name)),
        }
        return self._page(request, "effect", context)

    @shown
    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        """Where entries of the log lead: to the page of the effect that they name."""
        self._let_in(request)
        name = unquote(object_id)
        if name.isascii() and name.isdecimal():
            row = self.get_object(request, name)
            name = row.effect if isinstance(row, EffectControl) else name
        found = self._address("effect", self._meant(name)[0])
        if not found:
            raise Http404("No address can have this name.")
        return HttpResponseRedirect(found)

    history_view = change_view

    # To be done

    @asked_for
    def pause_view(self, request: HttpRequest, name: str) -> HttpResponse:
        name, effect = self._may_change(request, name)
        form = PauseForm(request.POST or None)
        if effect is None:
            raise Http404("This release has no such effect, so nothing of it begins here.")
        if request.method == "POST" and form.is_valid() and self._pause(request, name, form):
            return HttpResponseRedirect(self._address("effect", name))
        return self._ask(request, name, form, verb="pause")

    @asked_for
    def resume_view(self, request: HttpRequest, name: str) -> HttpResponse:
        name, _ = self._may_change(request, name)
        form = ResumeForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            self._resume(request, name, form)
            return HttpResponseRedirect(self._address("effect", name))
        return self._ask(request, name, form, verb="resume")

    def _pause(self, request: HttpRequest, name: str, form: PauseForm) -> bool:
        until, why = form.cleaned_data["until"], form.cleaned_data["why"]
        lasts = f"until {_spelled(until)}" if until else "until a person resumes it"
        said = {"by": request.user.get_username(), "why": why, "until": until}
        for using in form.databases:
            try:
                with entry(request.user.pk, name, f"Paused{_on(using)}, {lasts}: {why}"):
                    pausing.write_down(name, **said, using=using)
            except BadPause as error:  # its time came while the form was read
                form.add_error(None, f"Not paused on {using}: {error.problem}")
                return False
            if until is not None:
                pausing.wake_by(until, name, using=using, at_most=AT_MOST)
            self.message_user(request, f"Paused {name}{_on(using)}, {lasts}.", messages.SUCCESS)
        return True

    def _resume(self, request: HttpRequest, name: str, form: ResumeForm) -> None:
        why = form.cleaned_data["why"]
        for using in form.databases:
            try:
                self._resume_on(request, name, why, using)
            except UnknownEffect:  # here it was never paused, and nobody knows it
                told = f"It was not paused: {name}{_on(using)}."
                self.message_user(request, told, messages.WARNING)

    def _resume_on(self, request: HttpRequest, name: str, why: str, using: str) -> None:
        with entry(request.user.pk, name, f"Resumed{_on(using)}: {why}") as written:
            by = request.user.get_username()
            is_over = pausing.end_pause(name, by=by, why=why, using=using)
            if not is_over:
                written.delete()
        # Not in the transaction above: it may be ten thousand rows.
        count = pausing.bring_back(name, using=using, at_most=AT_MOST)
        told = f"{'Resumed' if is_over else 'It was not paused:'} {name}{_on(using)}"
        more = ""
        if count >= AT_MOST:
            more = (
                " The others come by themselves within two hours, or at once with"
                " `manage.py effects_resume`."
            )
        level = messages.SUCCESS if is_over else messages.WARNING
        self.message_user(request, f"{told}: {count} brought back.{more}", level)

    def _ask(self, request: HttpRequest, name: str, form: WhyForm, *, verb: str) -> HttpResponse:
        standings = standing.everywhere()
        context = {
            "title": f"{verb.capitalize()} {name}?",
            "name": name,
            "verb": verb,
            "form": form,
            "standing": [_told(each, name) for each in standings],
            "is_paused": any(name in each.pauses for each in standings),
            "effect_address": self._address("effect", name),
            "at_most": AT_MOST,
        }
        return self._page(request, "effect_confirm", context, form.media)

    # Small parts

    def _let_in(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _may_change(self, request: HttpRequest, name: str) -> tuple[str, Effect[Any, Any] | None]:
        self._let_in(request)
        if not self.has_pause_permission(request):
            raise PermissionDenied
        return self._meant(name)

    def _meant(self, name: str) -> tuple[str, Effect[Any, Any] | None]:
        """The effect called *name*, by whichever of its names; or one that was ever paused here."""
        effect = registry.find_effect(name)
        if effect is not None:
            return effect.name, effect
        rows = EffectControl.objects
        if any(rows.using(using).filter(effect=name).exists() for using in settings().databases):
            return name, None
        raise Http404("No effect has this name, and none of it was ever paused.")

    def _page(
        self, request: HttpRequest, name: str, context: dict[str, Any], media: Any = None
    ) -> HttpResponse:
        request.current_app = self.admin_site.name  # read by {% url %}
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media if media is None else self.media + media,
            **context,
        }
        return TemplateResponse(request, f"reliable_effects/admin/{name}.html", context)

    def _address(self, what: str, name: str) -> str:
        return effect_page(what, name, self.admin_site.name)

    def _row(self, line: lines.Line) -> dict[str, Any]:
        known = line.effect
        return {
            "line": line,
            "address": self._address("effect", line.name),
            "event": policy.because_of(known) if known and known.on else "",
            "marks": ", ".join(policy.marks(known)) if known else "",
            "timeout": policy.span(known.timeout) if known else looks.NOTHING,
            "backoff": _short_backoff(known) if known else looks.NOTHING,
            "paused": [
                (_on(using), pause, looks.moment(pause.since), looks.moment(pause.until))
                for using, pause in line.paused
            ],
            "deliveries": changelist(
                Delivery, self.admin_site.name, {"effect": line.name}
            ) if known else "",
        }  # fmt: skip

    def _deliveries(self, name: str) -> Sequence[tuple[str, str]]:
        site = self.admin_site.name
        wanted = [("all", {"effect": name})]
        wanted += [(state, {"effect": name, "state": state}) for state in _STATES]
        found = [(told, changelist(Delivery, site, query)) for told, query in wanted]
        return [(told, to) for told, to in found if to]


def _told(each: standing.Standing, name: str) -> dict[str, Any]:
    """How the effect stands on one database, for a row of a table."""
    pause = each.pauses.get(name)
    waiting = f"{each.waiting[name]:,}" + (" or more" if name in each.cut_short else "")
    return {
        "using": each.using,
        "is_away": each.is_away,
        "pause": pause,
        "since": looks.instant(pause.since) if pause else looks.NOTHING,
        "until": _until(pause),
        "waiting": waiting if pause else looks.NOTHING,
        "runs": each.runs[name],
        "failures": each.failures[name],
    }


def _until(pause: standing.Pause | None) -> str:
    if pause is None:
        return looks.NOTHING
    return looks.instant(pause.until) if pause.until else "a person resumes it"


def _since(standings: Sequence[standing.Standing]) -> str:
    known = [each.since for each in standings if each.since is not None]
    return looks.moment(min(known)) if known else ""


def _short_backoff(effect: Effect[Any, Any]) -> str:
    first, longest = effect.backoff.first, effect.backoff.longest
    return "none" if not longest else f"{policy.span(first)} … {policy.span(longest)}"


def _on(using: str) -> str:
    return f" on {using}" if len(settings().databases) > 1 else ""


def _spelled(instant: Any) -> str:
    return localtime(instant).strftime("%Y-%m-%d %H:%M %Z")


def register(site: AdminSite) -> None:
    """Put our page on *site*: for projects with admin sites of their own."""
    site.register(EffectControl, EffectControlAdmin)
