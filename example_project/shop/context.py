"""What every page of the shop shows around its own part."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def partners(_request: HttpRequest) -> dict[str, str]:
    return {"partners_url": settings.PARTNERS_URL}
