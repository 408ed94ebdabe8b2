"""Hand out the weekly reports; the link without a date goes to the week that is under way."""

from __future__ import annotations

from datetime import date

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_safe

from example_project.shop.reports import monday_of, usage_of_week, weekly_usage
from reliable_effects.reports import report_response


@require_safe
def this_week(_request: HttpRequest) -> HttpResponse:
    return redirect("weekly-usage", week=monday_of(timezone.now().date()).isoformat())


@require_safe
def weekly(request: HttpRequest, week: str) -> HttpResponseBase:
    return report_response(request, weekly_usage, week=_monday(week))


@require_safe
def my_usage(request: HttpRequest, week: str = "") -> HttpResponseBase:
    """Of whoever asks; staff see that of others in the admin."""
    if not request.user.is_authenticated:
        raise Http404("Nobody has used nothing.")
    monday = _monday(week) if week else monday_of(timezone.now().date())
    return report_response(request, usage_of_week, customer=request.user.pk, week=monday)


def _monday(text: str) -> date:
    try:
        return monday_of(date.fromisoformat(text))
    except (ValueError, OverflowError):
        raise Http404("No such week.") from None
