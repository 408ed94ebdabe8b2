"""Run now, reschedule and cancel: what a person may do to jobs, and what the page before each says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from ...outbox.admin.confirming import ConfirmedActions, Group, Verb, WhyForm
from .. import remedies
from ..models import ScheduledJob
from ..states import JobReason, JobState
from ..tables import JobTable, TypedTable
from .forms import RescheduleForm

_VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "run_now",
            "Run jobs now?",
            "Run now",
            "be run now",
            "made due now",
            "Their events are emitted at the next tick, in some seconds.",
        ),
        Verb(
            "reschedule",
            "Reschedule jobs?",
            "Reschedule",
            "be rescheduled",
            "rescheduled",
            "They wait for the time that you choose; what has passed is due at once.",
            RescheduleForm,
        ),
        Verb(
            "cancel",
            "Cancel jobs?",
            "Cancel the jobs",
            "be cancelled",
            "cancelled",
            "They are given up: their events will not be emitted, and their keys are free again.",
            is_an_end=True,
        ),
    )
}


class JobActions(ConfirmedActions):
    """
    The three remedies, for `ScheduledJob` and for models that inherit from `AbstractScheduledJob`.

    On a project's own model they need its change permission, as its admin says who has it, where
    its Meta declares none of the names `run_…`, `reschedule_…` and `cancel_…`.
    """

    actions = tuple(_VERBS)
    verbs = _VERBS
    counted = ("job", "jobs")
    about = "Event"
    left_because = "because of the state they are in, or because another job has their key"
    change_form_template = "reliable_effects/admin/with_remedies.html"

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
        return self.confirm("run_now", request, rows)

    @admin.action(description="Reschedule selected jobs", permissions=["reschedule"])
    def reschedule(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        return self.confirm("reschedule", request, rows)

    @admin.action(description="Cancel selected jobs", permissions=["cancel"])
    def cancel(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        return self.confirm("cancel", request, rows)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = kwargs.get("obj")
        if row is not None and not remedies.left_alone(JobState(row.state)):
            allowed = self.get_actions(request)
            context["remedies"] = [verb for name, verb in self.verbs.items() if name in allowed]
        return super().render_change_form(request, context, *args, **kwargs)

    # What the page says, and what is done

    def groups(self, verb: Verb, request: HttpRequest, rows: QuerySet[Any]) -> list[Group]:  # noqa: ARG002  # ConfirmedActions'
        columns = ("event", "state", "reason") if self._are_ours else ("state",)
        alike = Counter(rows.order_by().values_list(*columns))
        labels = {reason.value: reason.label for reason in JobReason}
        found = []
        for values, count in alike.items():
            row = dict(zip(columns, values, strict=True))
            state = JobState(row["state"])
            event = row.get("event", getattr(self.model, "emits", ""))
            reason = labels.get(row.get("reason", ""), "")
            found.append(Group(event, state.label, reason, count, remedies.left_alone(state)))
        return found

    def change(self, verb: Verb, rows: QuerySet[Any], form: WhyForm, by: str) -> Sequence[Any]:
        table = JobTable() if self._are_ours else TypedTable(self.model)
        said = {"by": by, "why": form.cleaned_data["why"]}
        if isinstance(form, RescheduleForm):
            return remedies.reschedule(table, rows, form.at, **said)
        if verb.name == "run_now":
            return remedies.run_now(table, rows, **said)
        return remedies.cancel(table, rows, **said)

    def entry(self, verb: Verb, form: WhyForm) -> str:
        to = f" to {form.at}" if isinstance(form, RescheduleForm) else ""
        return super().entry(verb, form) + to

    @property
    def _are_ours(self) -> bool:
        return issubclass(self.model, ScheduledJob)
