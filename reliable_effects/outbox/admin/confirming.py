"""
Remedies as admin actions: a page that says what will be done, a reason, an audit entry.

The page fixes the ids, and how each stood. What is confirmed is what was shown, however the filter's
rows have changed; each row's own state is asked again when it is changed, so a form that is sent
twice does it once. Whoever inherits says which verbs there are,
what each would do, and does it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.utils import quote
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from ..remedy import on_writer
from .pages import ReadOnlyAdmin

AT_MOST = 10_000  # rows in one go: some seconds of a request
CHUNK = 500  # rows in one transaction
FROM_PAGE = "from_page"  # is posted where it began on the page of a row, not in a list


class WhyForm(forms.Form):
    """What the audit entry needs to know."""

    why = forms.CharField(
        label="Reason",
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 70}),
        help_text="Kept in the history of each of them, with your name.",
    )


@dataclass(frozen=True, slots=True)
class Verb:
    """How a remedy is spoken of, and what it asks."""

    name: str  # of the action
    title: str
    button: str
    will: str
    done: str
    means: str
    form: type[WhyForm] = WhyForm
    is_an_end: bool = False  # nothing follows of itself


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that stand alike, and why they are left alone; "" where they will be changed."""

    about: str  # an effect, or an event
    state: str
    reason: str
    count: int
    left_alone: str

    @property
    def rank(self) -> tuple[bool, str, str, str]:
        return bool(self.left_alone), self.about, self.state, self.reason


class ConfirmedActions(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """The actions of `verbs`. Each is a method that calls `confirm` with its name."""

    verbs: Mapping[str, Verb]
    counted = ("delivery", "deliveries")
    about = "Effect"  # what groups are about
    left_because = "because of the state they are in"

    Media = ReadOnlyAdmin.Media

    # What the rows decide

    def groups(self, verb: Verb, request: HttpRequest, rows: QuerySet[Any]) -> list[Group]:
        """What *verb* would do to *rows*."""
        raise NotImplementedError

    def change(self, verb: Verb, rows: QuerySet[Any], form: WhyForm, by: str) -> Sequence[Any]:
        """Do it; the rows that were changed."""
        raise NotImplementedError

    def stamps(self, using: str, ids: Sequence[Any], *, lock: bool) -> Mapping[Any, str]:  # noqa: ARG002  # for who overrides it
        """How each stands; with *lock*, without those that somebody else is changing. {}: not compared."""
        return {}

    def form_of(self, verb: Verb, request: HttpRequest, data: Any) -> WhyForm:  # noqa: ARG002  # for who overrides it
        return verb.form(data)

    def entry(self, verb: Verb, form: WhyForm) -> str:  # noqa: ARG002  # for who overrides it
        """How the audit entry begins."""
        return verb.done.capitalize()

    def read_id(self, text: str) -> Any:
        """An id that the page brings back; None where it is none."""
        try:
            return self.opts.pk.to_python(text)
        except ValidationError:
            return None

    # Asked, confirmed, done

    def confirm(self, name: str, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        verb = self.verbs[name]
        confirmed = "ids" in request.POST
        if confirmed:
            parts = request.POST["ids"].split(",")[:AT_MOST]
            stood = request.POST.get("shown", "").split(",")
            told = [
                (self.read_id(part), as_) for part, as_ in zip_longest(parts, stood[: len(parts)])
            ]
            shown = {pk: as_ or "" for pk, as_ in told if pk is not None}
            ids = list(shown)
            cut = False
        else:
            ids = list(rows.values_list("pk", flat=True)[: AT_MOST + 1])
            ids, cut = ids[:AT_MOST], len(ids) > AT_MOST
            shown = {}
        groups = self._groups(verb, request, ids)
        form = self.form_of(verb, request, request.POST if confirmed else None)
        if not (confirmed and form.is_valid()):
            return self._ask(verb, request, ids, groups, cut=cut, form=form)
        self._apply(verb, request, shown, form, sum(g.count for g in groups if not g.left_alone))
        return HttpResponseRedirect(self._back(request, ids)) if FROM_PAGE in request.POST else None

    def _back(self, request: HttpRequest, ids: Sequence[Any]) -> str:
        """The page where it was asked for: that of the row, or the list with its filters."""
        if FROM_PAGE in request.POST and ids:
            return reverse(
                f"admin:{self.opts.app_label}_{self.opts.model_name}_change",
                args=[quote(str(ids[0]))],
                current_app=self.admin_site.name,
            )
        return request.get_full_path()

    def _groups(self, verb: Verb, request: HttpRequest, ids: Sequence[Any]) -> list[Group]:
        alike: dict[tuple[str, str, str, str], int] = {}
        for rows in self._chunks(request, ids):
            for group in self.groups(verb, request, rows):
                kind = (group.about, group.state, group.reason, group.left_alone)
                alike[kind] = alike.get(kind, 0) + group.count
        found = [Group(*kind[:3], count, kind[3]) for kind, count in alike.items()]
        return sorted(found, key=lambda group: group.rank)

    def _ask(
        self,
        verb: Verb,
        request: HttpRequest,
        ids: Sequence[Any],
        groups: Sequence[Group],
        *,
        cut: bool,
        form: WhyForm,
    ) -> HttpResponse:
        stamps: dict[Any, str] = {}
        for rows in self._chunks(request, ids):
            stamps |= self.stamps(rows.db, list(rows.values_list("pk", flat=True)), lock=False)
        context = {
            **self.admin_site.each_context(request),
            "title": verb.title,
            "opts": self.opts,
            "media": self.media + form.media,
            "verb": verb,
            "counted": self.counted[1],
            "about": self.about,
            "changed": [group for group in groups if not group.left_alone],
            "left_alone": [group for group in groups if group.left_alone],
            "count": sum(group.count for group in groups if not group.left_alone),
            "cut_at": AT_MOST if cut else None,
            "ids": ",".join(map(str, ids)),
            "shown": ",".join(stamps.get(pk, "") for pk in ids),
            "first_id": ids[0] if ids else "",
            "of_page": FROM_PAGE in request.POST,
            "from_page": FROM_PAGE,
            "back": self._back(request, ids),
            "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            "form": form,
        }
        request.current_app = self.admin_site.name  # read by {% url %}
        return TemplateResponse(request, "reliable_effects/admin/confirm.html", context)

    def _apply(
        self,
        verb: Verb,
        request: HttpRequest,
        shown: Mapping[Any, str],
        form: WhyForm,
        expected: int,
    ) -> None:
        by = request.user.get_username()
        entry = f"{self.entry(verb, form)} (one of {expected}): {form.cleaned_data['why']}"
        ids = list(shown)
        count = others = 0
        for rows in self._chunks(request, ids):
            # Change and audit entry share one fate.
            with transaction.atomic(using=rows.db):
                found = list(rows.values_list("pk", flat=True))
                stamps = self.stamps(rows.db, found, lock=True)
                same = [pk for pk in found if not shown[pk] or stamps.get(pk) == shown[pk]]
                changed = self.change(verb, rows.filter(pk__in=same), form, by)
                self._log(request, changed, entry)
            count += len(changed)
            others += len(found) - len(same)
        one, many = self.counted
        self.message_user(
            request,
            f"{count} {f'{one} was' if count == 1 else f'{many} were'} {verb.done}.",
            messages.SUCCESS if count else messages.WARNING,
        )
        if others:
            told = f"{others} left alone, because of what became of them since they were shown."
            self.message_user(request, told, messages.WARNING)
        if count + others < len(ids):
            self.message_user(
                request,
                f"{len(ids) - count - others} left alone, {self.left_because}.",
                messages.WARNING,
            )

    def _log(self, request: HttpRequest, changed: Sequence[Any], entry: str) -> None:
        # Not at the top: the models of other apps are not loaded when this module is.
        from django.contrib.admin.models import CHANGE, LogEntry  # noqa: PLC0415

        LogEntry.objects.log_actions(
            user_id=str(request.user.pk),
            queryset=changed,
            action_flag=CHANGE,
            change_message=entry,
        )

    def _chunks(self, request: HttpRequest, ids: Sequence[Any]) -> Iterator[QuerySet[Any]]:
        # Through get_queryset, so that a project's own narrowing holds for what is posted, too.
        for start in range(0, len(ids), CHUNK):
            rows = on_writer(self.get_queryset(request))
            yield rows.filter(pk__in=ids[start : start + CHUNK])
