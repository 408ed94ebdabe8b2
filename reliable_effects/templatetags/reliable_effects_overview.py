"""For the template of the app's page in the admin: it works on every AdminSite, with no URL to add."""

from __future__ import annotations

from typing import Any

from django import template
from django.http import HttpRequest
from django.template import RequestContext
from django.utils import timezone

from ..clock import spoken as in_words
from ..console.overview import page
from ..console.overview.section import COVERED

register = template.Library()

RELOAD = 30  # seconds; without JavaScript, where it cannot keep the scroll


@register.simple_tag(takes_context=True)
def overview_is_shown(context: RequestContext) -> bool:
    """Whether the reader may see it. Asks for permissions only."""
    return page.is_for(_request(context))


@register.inclusion_tag("reliable_effects/admin/overview.html", takes_context=True)
def overview(context: RequestContext) -> dict[str, Any]:
    """The section itself."""
    request = _request(context)
    shown = page.overview(request)
    return {
        "shown": shown,
        "are_several": len(shown) > 1,
        "read_at": timezone.now(),
        "days": COVERED,
        "reloads": _reloads(request),
        "reload": RELOAD,
        "path": request.path,
    }


@register.simple_tag(takes_context=True)
def overview_reloads(context: RequestContext) -> int:
    """After how many seconds the page reloads itself without JavaScript; 0 where it was told not to."""
    return RELOAD if _reloads(_request(context)) else 0


def _request(context: RequestContext) -> HttpRequest:
    """The admin's pages have one, whether or not the project's context processors put it there."""
    return context.request


def _reloads(request: HttpRequest) -> bool:
    return bool(request.GET.get("refresh") != "no")


register.filter("spoken", in_words)
