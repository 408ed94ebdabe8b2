"""Start a trial; see which ones end when; move an end, or cancel it by becoming a member."""

from __future__ import annotations

from http import HTTPStatus

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.formats import date_format
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from example_project.shop.forms import MoveForm, TrialForm
from example_project.shop.models import TrialExpiry
from example_project.shop.showing import effects_of, is_settled
from example_project.shop.trials import ZONE, AlreadyTried, move_end, start_trial, subscribe

_SHOWN = 20  # rows of each kind


@require_http_methods(["GET", "HEAD", "POST"])
def trials(request: HttpRequest) -> HttpResponse:
    form = TrialForm(request.POST or None)
    status = HTTPStatus.OK
    if request.method == "POST":
        if form.is_valid():
            try:
                return redirect(start_trial(**form.cleaned_data))
            except AlreadyTried as error:
                form.add_error("email", str(error))
        status = HTTPStatus.UNPROCESSABLE_ENTITY
    rows = TrialExpiry.objects.select_related("membership")
    context = {
        "form": form,
        "standing": rows.standing().order_by("at")[:_SHOWN],
        "ended": rows.exclude(ended_at=None).order_by("-ended_at")[:_SHOWN],
        "zone": ZONE,
    }
    return render(request, "shop/trials.html", context, status=status)


@require_safe
def trial(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "shop/trial.html", _context(pk))


@require_safe
@never_cache
def trial_effects(request: HttpRequest, pk: int) -> HttpResponse:
    """Answer with the part that changes, for the script that keeps the page fresh."""
    return render(request, "shop/trial_effects.html", _context(pk))


@require_POST
def move_trial(request: HttpRequest, pk: int) -> HttpResponse:
    expiry = get_object_or_404(TrialExpiry.objects.select_related("membership"), pk=pk)
    form = MoveForm(request.POST)
    if not form.is_valid():
        for problem in form.errors["ends"]:
            messages.error(request, f"The {expiry} was not moved. {problem}")
    elif move_end(expiry, ends := form.cleaned_data["ends"]):
        messages.success(
            request, f"The {expiry} ends at {date_format(ends.wall, 'j M Y, H:i')} now."
        )
    else:
        messages.error(request, f"The {expiry} was not moved: it is over.")
    return redirect("trials")


@require_POST
def end_by_subscribing(request: HttpRequest, pk: int) -> HttpResponse:
    expiry = get_object_or_404(TrialExpiry.objects.select_related("membership"), pk=pk)
    if subscribe(expiry):
        messages.success(request, f"{expiry.membership} stays a member; the end is cancelled.")
    else:
        messages.error(request, f"The {expiry} is over, so there was nothing to cancel.")
    return redirect("trials")


def _context(pk: int) -> dict[str, object]:
    expiry = get_object_or_404(TrialExpiry.objects.select_related("membership"), pk=pk)
    lines = effects_of(expiry)
    waits = expiry.ended_at is None
    return {
        "trial": expiry,
        "lines": lines,
        "settled": not waits and is_settled(lines),
        "zone": ZONE,
    }
