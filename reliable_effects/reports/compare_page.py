"""The page that compares a version with the one before: asked and written down as a download is."""

from __future__ import annotations

import zlib
from contextlib import closing
from typing import Any

from django.contrib.admin import ModelAdmin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse

from ..clock import spoken
from ..exceptions import BadPayload, BlobMissing
from ..outbox.admin import looks
from .comparing import BYTES, LINES, Beginning, beginning, changes
from .definition import ReportDefinition, definition
from .models import Report, ReportVersion, VersionState
from .serve import note
from .stores import store

_OF_LINES = ("csv", "csv.gz", "jsonl", "jsonl.gz")


def as_declared(row: Report) -> tuple[ReportDefinition, dict[str, Any]]:
    """
    The report of *row* and its parameters, as this release has them.

    Raises:
        Http404: it has no such report, or cannot read the parameters.
    """
    known = definition(row.name)
    if known is None:
        raise Http404("This release has no such report.")
    try:
        return known, known.parameters.restored(row.parameters)
    except BadPayload as error:
        raise Http404(str(error)) from error


def compare(
    admin: ModelAdmin[Report], request: HttpRequest, row: Report, number: int
) -> HttpResponse:
    """
    Raises:
        Http404: there are no such two, or this user may not read the report.
    """
    known, arguments = as_declared(row)
    if not known.may_read(request.user, arguments):
        raise Http404("No such report.")
    ready = row.versions.filter(state=VersionState.READY).order_by("-number", "-pk")
    after = ready.filter(number=number).first()
    before = ready.filter(number__lt=number).first()
    if after is None or before is None:
        raise Http404("There are no two such versions.")
    for version in (before, after):
        note(request, row, version, "compare")
    context = {
        **admin.admin_site.each_context(request),
        "title": f"{row}: build {before.number} and build {after.number}",
        "opts": admin.opts,
        "media": admin.media,
        "row": row,
        "versions": (before, after),
        "facts": _facts(before, after),
        **_lines(before, after),
    }
    request.current_app = admin.admin_site.name  # read by {% url %}
    return TemplateResponse(request, "reliable_effects/admin/compare_report.html", context)


def _facts(before: ReportVersion, after: ReportVersion) -> list[tuple[str, str, str, str]]:
    """What is told of both, and what changed."""
    grown = after.size - before.size
    size = f"{'-' if grown < 0 else '+'}{filesizeformat(abs(grown))}" if grown else "equal"
    rows = f"{after.rows - before.rows:+,}" if after.rows != before.rows else "equal"
    same = "equal" if after.sha256 == before.sha256 else "differs"
    return [
        ("data of", looks.instant(before.started_at), looks.instant(after.started_at), ""),
        ("took", took(before), took(after), ""),
        ("rows", f"{before.rows:,}", f"{after.rows:,}", rows),
        ("size", filesizeformat(before.size), filesizeformat(after.size), size),
        ("SHA-256", before.sha256[:12], after.sha256[:12], same),
    ]


def took(version: ReportVersion) -> str:
    if version.finished_at is None:
        return looks.NOTHING
    return spoken(version.finished_at - version.started_at)


def _lines(before: ReportVersion, after: ReportVersion) -> dict[str, Any]:
    if before.sha256 == after.sha256:
        return {"why_none": "They are the same bytes."}
    if not {before.extension, after.extension} <= set(_OF_LINES):
        return {
            "why_none": "They are no lines of text, so only their size and SHA-256 are compared."
        }
    try:
        two = [_beginning(version) for version in (before, after)]
    except (BlobMissing, zlib.error) as error:
        return {"why_none": str(error)}
    return {
        "changes": changes(two[0].lines, two[1].lines),
        "is_all": all(each.is_all for each in two),
        "compared": max(len(each.lines) for each in two),
        "most_lines": LINES,
        "most_bytes": BYTES,
    }


def _beginning(version: ReportVersion) -> Beginning:
    with closing(store().open_range(version.key)) as opened:
        return beginning(opened, packed=version.extension.endswith(".gz"))
