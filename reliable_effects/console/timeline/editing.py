"""
Edit a delivery's payload, and redrive it: a form, what will change, a reason, and then it is done.

GET shows and changes nothing. The form has the payload as it is stored, secrets too, since what is
hidden cannot be edited; so it needs the permission to see events beside its own.
"""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from ...exceptions import BadPayload
from ...outbox import edits, payloads, redaction
from ...outbox.admin.confirming import WhyForm
from ...outbox.admin.remedies import RemedyAdmin
from ...outbox.edits import Terms
from ...outbox.models import Delivery, OutboxEvent
from ...outbox.remedy import on_writer
from . import diffs
from .timeline import EDITED, SEES_EVENTS

EDITS = "reliable_effects.edit_payload_delivery"
_STEPS = ("again", "check", "confirm")


def may_edit_payloads(request: HttpRequest) -> bool:
    return request.user.has_perm(EDITS) and request.user.has_perm(SEES_EVENTS)


class PayloadForm(forms.Form):
    """JSON, checked as an emit would check it."""

    payload = forms.CharField(
        strip=False,
        widget=forms.Textarea(
            attrs={"rows": 18, "cols": 80, "class": "re-code", "spellcheck": "false"}
        ),
    )

    def __init__(self, *args: Any, row: Delivery, event: OutboxEvent, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._row, self._event = row, event
        self.plain: Any = None

    def clean_payload(self) -> str:
        text: str = self.cleaned_data["payload"]
        try:
            self.plain = edits.checked(text, edits.declaration_of(self._row, self._event))
        except BadPayload as error:
            raise forms.ValidationError(f"{error.path or 'It'} {error.problem}") from error
        if edits.pretty(self.plain) == edits.as_text(self._row, self._event):
            raise forms.ValidationError("It is what it was. To run it again as it is, redrive it.")
        return text


class ConfirmForm(WhyForm):
    """The reason, and where something may have been sent, somebody's word."""

    field_order = ("did_not_happen", "why")

    did_not_happen = forms.BooleanField(
        label="I have looked at the partner, and it did not happen", required=True
    )

    def __init__(self, *args: Any, terms: Terms, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["why"].help_text = "Kept in its history, with your name."
        if not terms.needs_word:
            del self.fields["did_not_happen"]


class PayloadEditing(RemedyAdmin):
    """The address below a delivery's page where its payload is edited."""

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<path:object_id>/edit-payload/",
                self.admin_site.admin_view(self.edit_payload),
                name="reliable_effects_delivery_edit_payload",
            ),
            *super().get_urls(),
        ]

    @method_decorator(never_cache)
    @method_decorator(sensitive_post_parameters("payload"))
    def edit_payload(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self._editable(request, object_id)
        step = request.POST.get("step")
        # First, for a form that is sent twice finds the payload that it has put there itself.
        if step == "confirm" and request.POST.get("shown") != edits.stamp(row):
            return self._answer(request, row, edits.Edited(left_alone=edits.CHANGED))
        event = edits.event_of(row)
        terms = edits.terms_of(row, event)
        refused = terms.left_alone or self._lacks(request, terms)
        if refused or event is None:
            return self._edit_page(request, row, {"refused": refused})
        if step not in _STEPS:
            form = PayloadForm({"payload": edits.as_text(row, event)}, row=row, event=event)
            form.errors.clear()  # nobody has typed it
            return self._ask_for_payload(request, row, event, form)
        return self._typed(request, row, event, terms)

    def _typed(
        self, request: HttpRequest, row: Delivery, event: OutboxEvent, terms: Terms
    ) -> HttpResponse:
        form = PayloadForm(request.POST, row=row, event=event)
        step = request.POST["step"]
        if step == "again":
            form.errors.clear()
        if step == "again" or not form.is_valid():
            return self._ask_for_payload(request, row, event, form)
        confirmed = step == "confirm"
        confirm = ConfirmForm(request.POST if confirmed else None, terms=terms)
        if not (confirmed and confirm.is_valid()):
            context = {"confirm": confirm, "terms": terms, "event": event}
            return self._ask_why(request, row, form, context)
        return self._apply_edit(request, row, form, confirm)

    def _editable(self, request: HttpRequest, object_id: str) -> Delivery:
        pk = self.read_id(unquote(object_id))
        # Through get_queryset, so that a project's own narrowing holds here, too.
        row: Any = None
        if pk is not None:
            row = on_writer(self.get_queryset(request)).filter(pk=pk).first()
        if not (self.has_view_permission(request, row) and may_edit_payloads(request)):
            raise PermissionDenied
        if row is None:
            raise Http404("No such delivery.")
        found: Delivery = row
        return found

    def _lacks(self, request: HttpRequest, terms: Terms) -> str:
        """What the user may not do that an edit on these *terms* takes."""
        if terms.anew and not self.has_start_anew_permission(request):
            return (
                "it has run, so another payload goes under a new key: that needs the permission to"
                " start deliveries anew"
            )
        if terms.needs_word and not self.has_settle_permission(request):
            return (
                "it may have happened, and to say that it did not needs the permission to settle"
                " deliveries"
            )
        return ""

    # The steps

    def _ask_for_payload(
        self, request: HttpRequest, row: Delivery, event: OutboxEvent, form: PayloadForm
    ) -> HttpResponse:
        found = payloads.in_force(row._state.db or "default", row.pk, row.notes, event)
        stored = event.payload if found is None else found.stored
        _, is_all = redaction.shown(event.name, stored)
        context = {"form": form, "hides": not is_all, "event": event}
        return self._edit_page(request, row, context)

    def _ask_why(
        self, request: HttpRequest, row: Delivery, form: PayloadForm, context: dict[str, Any]
    ) -> HttpResponse:
        context |= {
            "diff": diffs.lines(edits.as_text(row, context["event"]), edits.pretty(form.plain)),
            "text": json.dumps(form.plain, ensure_ascii=False),
            "shown": edits.stamp(row),
        }
        return self._edit_page(request, row, context)

    def _apply_edit(
        self, request: HttpRequest, row: Delivery, form: PayloadForm, confirm: ConfirmForm
    ) -> HttpResponse:
        said = confirm.cleaned_data
        word = said.get("did_not_happen", False)
        # The edit and its audit entry share one fate.
        with transaction.atomic(using=row._state.db):
            result = edits.edit(
                row,
                form.cleaned_data["payload"],
                by=request.user.get_username(),
                why=said["why"],
                shown=request.POST["shown"],
                may_start_anew=self.has_start_anew_permission(request),
                did_not_happen=word and self.has_settle_permission(request),
            )
            if result.edit is not None:
                on_my_word = " on my word that it did not happen" if word else ""
                under = ", started anew under a new key" if result.anew else ", redriven"
                self.log_change(
                    request, row, f"{EDITED} {result.edit.pk}){under}{on_my_word}: {said['why']}"
                )
        return self._answer(request, row, result)

    def _answer(self, request: HttpRequest, row: Delivery, result: edits.Edited) -> HttpResponse:
        if result.edit is None:
            told = f"Nothing was changed: {result.left_alone}."
            self.message_user(request, told, messages.WARNING)
        else:
            told = "Its payload was edited, and it runs again soon."
            self.message_user(request, told, messages.SUCCESS)
        return HttpResponseRedirect(
            reverse(
                "admin:reliable_effects_delivery_change",
                args=[row.pk],
                current_app=self.admin_site.name,
            )
        )

    def _edit_page(
        self, request: HttpRequest, row: Delivery, context: dict[str, Any]
    ) -> HttpResponse:
        request.current_app = self.admin_site.name  # read by {% url %}
        context |= {
            **self.admin_site.each_context(request),
            "title": "Edit a payload",
            "opts": self.opts,
            "media": self.media,
            "row": row,
            "object_id": row.pk,
        }
        return TemplateResponse(request, "reliable_effects/admin/edit_payload.html", context)
