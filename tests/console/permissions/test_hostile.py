"""Whatever stands in a row, and whatever a request says, is shown as text."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType

from reliable_effects.models import EffectControl

from .conftest import log_in
from .matrix import PAGES, REMEDIES, address, model_of
from .rows import a_row, our_models

pytestmark = pytest.mark.django_db

MARKUP = """<script>alert(1)</script>"><img src=x onerror=alert(2)>'{{ 8765432109|add:1 }}{% now 'Y' %}"""
ODD = "\u202e<b>\x1b[31m\x07\u2066\ufeff" + "<i>long</i>" * 500
TRACES = ("<script>alert", "<img src=x", "8765432110", "<b>\x1b", "<i>long")


@pytest.fixture(params=[MARKUP, ODD], ids=["markup", "odd"])
def hostile(request) -> str:
    """A text that is in each column of each table, as far as it goes in."""
    for model in our_models():
        a_row(model, request.param)
    user = get_user_model()._default_manager.create(
        is_staff=True, **{get_user_model().USERNAME_FIELD: request.param[:150]}
    )
    for model in our_models():
        LogEntry.objects.create(
            user_id=user.pk,
            content_type=ContentType.objects.get_for_model(model),
            object_id=str(a_row(model).pk),
            object_repr=request.param[:200],
            action_flag=CHANGE,
            change_message=request.param,
        )
    return request.param


def traces_in(response) -> list[str]:
    body = response.content.decode()
    return [body[max(body.index(trace) - 200, 0) :][:400] for trace in TRACES if trace in body]


def pages(site):
    models = {model._meta.model_name: model for model in our_models()}
    for name, page in PAGES.items():
        if page.needs is not None:
            row = a_row(models[model_of(name)])
            yield name, address(site, name, page.arguments(row)) + page.query


@pytest.mark.usefixtures("hostile")
def test_no_row_can_bring_markup_into_a_page(site):
    """Errors quote what partners say, and subjects what customers type."""
    EffectControl.objects.update(paused_at="2026-01-01T00:00:00Z")
    client = log_in(is_superuser=True)
    quoting = set()

    for name, where in pages(site):
        if name == "report_read":  # a report's content is a download, and no page
            continue
        response = client.get(where, follow=True)
        # This release does not know the report, so there is nothing of it to compare.
        there = name != "report_compare"
        assert (response.status_code == HTTPStatus.OK) == there, name
        assert traces_in(response) == [], name
        quoting |= {name} if "&lt;" in response.content.decode() else set()
    assert len(quoting) > 20, quoting  # it was there to be shown


@pytest.mark.parametrize(
    "parameter", ["q", "state", "effect", "due", "reason", "p", "by", "e", "consumer"]
)
def test_no_address_can_either(site, parameter):
    """A link in a mail is followed by who is logged in."""
    client = log_in(is_superuser=True)

    for name, where in pages(site):
        if name.endswith("_changelist"):
            response = client.get(where, {parameter: MARKUP}, follow=True)
            assert response.status_code in (HTTPStatus.OK, HTTPStatus.BAD_REQUEST), name
            assert traces_in(response) == [], name


@pytest.mark.one_database  # templates know none
@pytest.mark.parametrize("name", REMEDIES)
def test_no_form_that_is_shown_again_can(site, name):
    """Nor the page that says why it was refused."""
    remedy, row = REMEDIES[name], REMEDIES[name].row()
    client = log_in(is_superuser=True)
    wrong = dict.fromkeys((*remedy.data(row), "until", "database", "shown"), MARKUP)
    where = address(site, f"{model_of(name)}_changelist", [])
    if remedy.address:
        where = address(site, remedy.address, remedy.arguments(row))
    else:
        wrong |= {"action": name.partition(".")[2], "_selected_action": str(row.pk)}
        wrong |= {"ids": str(row.pk)}

    for why in ("", MARKUP):
        assert traces_in(client.post(where, wrong | {"why": why}, follow=True)) == []
