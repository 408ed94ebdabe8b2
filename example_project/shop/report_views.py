"""Hand out the weekly report; the link without a date goes to the week that is under way."""

from __future__ import annotations

from datetime import date

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_safe

from example_project.shop.reports import monday_of, weekly_usage
from reliable_effects.reports import report_response


@require_safe
def this_week(_request: HttpRequest) -> HttpResponse:
    return redirect("weekly-usage", week=monday_of(timezone.now().date()).isoformat())


@require_safe
def weekly(request: HttpRequest, week: str) -> HttpResponseBase:
    try:
        day = date.fromisoformat(week)
    except ValueError:
        raise Http404("No such week.") from None
    return report_response(request, weekly_usage, week=monday_of(day))
