"""
Run now, reschedule and cancel as admin actions: a page that says what will be done, a reason, an
audit entry.

The page fixes the ids. What is confirmed is what was shown, however the filter's rows have changed;
each row's own state is asked again when it is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from ...outbox.admin.pages import ReadOnlyAdmin
from ...outbox.remedy import on_writer
from .. import remedies
from ..models import ScheduledJob
from ..states import JobReason, JobState
from ..tables import JobTable, TypedTable
from .forms import RescheduleForm, WhyForm

AT_MOST = 10_000  # rows in one go: some seconds of a request
_CHUNK = 500  # rows in one transaction


@dataclass(frozen=True, slots=True)
class _Verb:
    """How a remedy is spoken of, and whose permission it needs."""

    name: str  # of the action
    permission: str  # what stands before "_scheduledjob"
    title: str
    button: str
    will: str
    done: str
    means: str
    form: type[WhyForm] = WhyForm


_VERBS = {
    verb.name: verb
    for verb in (
        _Verb(
            "run_now",
            "run",
            "Run jobs now?",
            "Run now",
            "be run now",
            "made due now",
            "Their events are emitted at the next tick, in some seconds.",
        ),
        _Verb(
            "reschedule",
            "reschedule",
            "Reschedule jobs?",
            "Reschedule",
            "be rescheduled",
            "rescheduled",
            "They wait for the time that you choose; what has passed is due at once.",
            RescheduleForm,
        ),
        _Verb(
            "cancel",
            "cancel",
            "Cancel jobs?",
            "Cancel the jobs",
            "be cancelled",
            "cancelled",
            "They are given up: their events will not be emitted, and their keys are free again.",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class _Group:
    """Jobs that stand alike, and why they are left alone; "" where they will be changed."""

    event: str
    state: JobState
    reason: str
    count: int

    @property
    def left_alone(self) -> str:
        return remedies.left_alone(self.state)


class JobActions(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """
    The three remedies, for `ScheduledJob` and for models that inherit from `AbstractScheduledJob`.

    On a project's own model they need its change permission, as its admin says who has it, where
    its Meta declares none of the names `run_…`, `reschedule_…` and `cancel_…`.
    """

    actions = ("run_now", "reschedule", "cancel")
    change_form_template = "reliable_effects/admin/job.html"

    Media = ReadOnlyAdmin.Media

    def has_run_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "run")

    def has_reschedule_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "reschedule")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "cancel")

    def _may(self, request: HttpRequest, verb: str) -> bool:
        own = f"{verb}_{self.opts.model_name}"
        if own in {name for name, _ in self.opts.permissions}:
            return request.user.has_perm(f"{self.opts.app_label}.{own}")
        return self.has_change_permission(request)

    @admin.action(description="Run selected jobs now", permissions=["run"])
    def run_now(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        return self._remedy("run_now", request, rows)

    @admin.action(description="Reschedule selected jobs", permissions=["reschedule"])
    def reschedule(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        return self._remedy("reschedule", request, rows)

    @admin.action(description="Cancel selected jobs", permissions=["cancel"])
    def cancel(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        return self._remedy("cancel", request, rows)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = kwargs.get("obj")
        if row is not None and not remedies.left_alone(JobState(row.state)):
            allowed = self.get_actions(request)
            context["remedies"] = [
                (verb.name, verb.button) for verb in _VERBS.values() if verb.name in allowed
            ]
        return super().render_change_form(request, context, *args, **kwargs)

    # Asked, confirmed, done

    def _remedy(self, name: str, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        verb = _VERBS[name]
        confirmed = "ids" in request.POST
        if confirmed:
            ids, cut = self._read_ids(request.POST["ids"]), False
        else:
            ids = list(rows.values_list("pk", flat=True)[: AT_MOST + 1])
            ids, cut = ids[:AT_MOST], len(ids) > AT_MOST
        groups = self._groups(request, ids)
        form = verb.form(request.POST if confirmed else None)
        if not (confirmed and form.is_valid()):
            return self._ask(verb, request, ids, groups, cut=cut, form=form)
        self._apply(verb, request, ids, form, sum(g.count for g in groups if not g.left_alone))
        return None

    def _ask(
        self,
        verb: _Verb,
        request: HttpRequest,
        ids: Sequence[Any],
        groups: Sequence[_Group],
        *,
        cut: bool,
        form: WhyForm,
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": verb.title,
            "opts": self.opts,
            "media": self.media + form.media,
            "verb": verb,
            "changed": [group for group in groups if not group.left_alone],
            "left_alone": [group for group in groups if group.left_alone],
            "count": sum(group.count for group in groups if not group.left_alone),
            "cut_at": AT_MOST if cut else None,
            "ids": ",".join(map(str, ids)),
            "first_id": ids[0] if ids else "",
            "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            "form": form,
        }
        request.current_app = self.admin_site.name  # read by {% url %}
        return TemplateResponse(request, "reliable_effects/admin/confirm_jobs.html", context)

    def _groups(self, request: HttpRequest, ids: Sequence[Any]) -> list[_Group]:
        ours = issubclass(self.model, ScheduledJob)
        columns = ("event", "state", "reason") if ours else ("state",)
        alike: Counter[tuple[Any, ...]] = Counter()
        for rows in self._chunks(request, ids):
            alike.update(rows.order_by().values_list(*columns))
        labels = {reason.value: reason.label for reason in JobReason}
        found = []
        for values, count in alike.items():
            row = dict(zip(columns, values, strict=True))
            event = row.get("event", getattr(self.model, "emits", ""))
            reason = labels.get(row.get("reason", ""), "")
            found.append(_Group(event, JobState(row["state"]), reason, count))
        return sorted(found, key=lambda g: (bool(g.left_alone), g.event, g.state, g.reason))

    def _apply(
        self, verb: _Verb, request: HttpRequest, ids: Sequence[Any], form: WhyForm, expected: int
    ) -> None:
        ours = issubclass(self.model, ScheduledJob)
        table = JobTable() if ours else TypedTable(self.model)
        said = {"by": request.user.get_username(), "why": form.cleaned_data["why"]}
        to = ""
        if isinstance(form, RescheduleForm):
            to = f" to {form.at}"
        entry = f"{verb.done.capitalize()}{to} (one of {expected}): {said['why']}"
        count = 0
        for rows in self._chunks(request, ids):
            # Change and audit entry share one fate.
            with transaction.atomic(using=rows.db):
                if isinstance(form, RescheduleForm):
                    changed = remedies.reschedule(table, rows, form.at, **said)
                elif verb.name == "run_now":
                    changed = remedies.run_now(table, rows, **said)
                else:
                    changed = remedies.cancel(table, rows, **said)
                self._log(request, changed, entry)
            count += len(changed)
        self.message_user(
            request,
            f"{count} {'job was' if count == 1 else 'jobs were'} {verb.done}.",
            messages.SUCCESS if count else messages.WARNING,
        )
        if count < len(ids):
            self.message_user(
                request,
                f"{len(ids) - count} left alone, because of the state they are in, or because"
                " another job has their key.",
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
        for start in range(0, len(ids), _CHUNK):
            rows = on_writer(self.get_queryset(request))
            yield rows.filter(pk__in=ids[start : start + _CHUNK])

    def _read_ids(self, text: str) -> list[Any]:
        """The ids a form brings back; what is none is left out."""
        found = []
        for part in text.split(",")[:AT_MOST]:
            try:
                found.append(self.opts.pk.to_python(part))
            except ValidationError:
                continue
        return found
