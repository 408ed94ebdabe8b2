"""Everybody may do what their permissions say, on every page, and nothing else."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from django.apps import apps
from django.contrib.admin import AdminSite
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import AnonymousUser
from django.test import Client, RequestFactory

from reliable_effects.models import EffectControl

from .conftest import log_in
from .matrix import ASKS, PAGES, PARTS, REMEDIES, address, confirm, model_of
from .rows import a_row, digest, our_models

# Who may do what no database decides; what a remedy writes is tested where the remedy is.
pytestmark = [pytest.mark.django_db, pytest.mark.one_database]

REFUSED = (HTTPStatus.FORBIDDEN, HTTPStatus.FOUND)  # to the login page


def test_every_page_and_action_is_in_the_table(site: AdminSite):
    """A page that is in no table is one whose permissions nobody has thought of."""
    pages, actions = set(), set()
    for model, admin in site._registry.items():
        if model._meta.app_label != "reliable_effects":
            continue
        names = (pattern.name for pattern in admin.get_urls())
        pages |= {name.removeprefix("reliable_effects_") for name in names if name}
        actions |= {f"{model._meta.model_name}.{name}" for name in _actions(admin)}

    by_address = {remedy.address for remedy in REMEDIES.values() if remedy.address}
    assert pages == {*PAGES, *by_address}
    assert actions == {*ASKS, *(name for name in REMEDIES if not REMEDIES[name].address)}


def _actions(admin) -> list[str]:
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    request.user.has_perm = lambda _permission: True
    return list(admin.get_actions(request))


def test_both_tables_need_only_what_there_is():
    """And each permission is in one of them, so that none is asked for in vain."""
    declared = {
        name
        for model in apps.get_app_config("reliable_effects").get_models()
        for name in (
            *(f"{verb}_{model._meta.model_name}" for verb in model._meta.default_permissions),
            *(name for name, _ in model._meta.permissions),
        )
    }
    needed = {name for page in PAGES.values() for name in page.needs or ()}
    needed |= {remedy.needs for remedy in REMEDIES.values()} | set(PARTS.values())

    assert declared == needed


def row_of(name: str):
    [model] = [
        m for m in apps.get_models() if m._meta.label_lower == f"reliable_effects.{model_of(name)}"
    ]
    return a_row(model)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_shown_to_who_may_see_it_and_changes_nothing(site, name):
    """Anonymous, staff, one permission short of it, all of them, and a superuser."""
    page = PAGES[name]
    where = address(site, name, page.arguments(row_of(name))) + page.query
    needs = page.needs or ()
    short_of_one = {tuple(other for other in needs if other != one) for one in needs}

    refused = [Client(), *(log_in(*few) for few in {(), *short_of_one})]
    allowed = [log_in(*needs), log_in(is_superuser=True)]

    before = digest()
    for client in refused if page.needs else [*refused, *allowed]:
        response = client.get(where)
        assert response.status_code in REFUSED
        assert "/login/" in response.get("Location", "/login/")
        client.post(where, {"why": "x", "post": "yes", "action": "redrive", "ids": "1"})
    for client in allowed if page.needs else []:
        response = client.get(where)
        assert response.status_code == HTTPStatus.OK or _leads_on(site, response)
    assert digest() == before


def _leads_on(site, response) -> bool:
    """To another page of ours, or to what is not there: an unknown report."""
    there = response.get("Location", "")
    is_ours = there.startswith(address(site, "effectcontrol_changelist", []))
    return response.status_code == HTTPStatus.NOT_FOUND or is_ours


def test_to_look_at_a_remedy_s_address_does_nothing(site):
    """What a search engine, a prefetching browser and a curious person have in common."""
    superuser = log_in(is_superuser=True)
    for remedy in REMEDIES.values():
        if not remedy.address:
            continue
        where = address(site, remedy.address, remedy.arguments(remedy.row()))
        before = digest()
        superuser.get(where, {"why": "because"})
        superuser.head(where)
        assert digest() == before


@pytest.mark.parametrize(("name", "told"), PARTS)
def test_a_part_of_a_page_is_shown_to_who_may_see_it(site, name, told):
    """A delivery's page holds what an error says; who may see the one may not see the other."""
    own, page = PARTS[name, told], PAGES[name]
    for model in our_models():
        a_row(model)
    row = EffectControl(effect="shop.wrap") if "effectcontrol" in name else row_of(name)
    where = address(site, name, page.arguments(row))
    others = {*PARTS.values()} - {own, *page.needs}

    without, with_it = log_in(*page.needs, *others), log_in(*page.needs, own)

    assert told not in _content(without.get(where))
    assert told in _content(with_it.get(where))


def _content(response) -> str:
    """Without what stands around each page."""
    _, _, rest = response.content.decode().partition('id="content"')
    assert rest
    return rest


@pytest.mark.parametrize("name", REMEDIES)
def test_a_remedy_is_done_for_who_may_do_it_and_for_nobody_else(site, name):
    """Its own permission and the one to view: neither alone, nor all others together."""
    own = REMEDIES[name].needs
    view = REMEDIES[name].view or (f"view_{model_of(name)}",)
    others = {remedy.needs for remedy in REMEDIES.values()} - {own}
    views = {need for page in PAGES.values() for need in page.needs or () if "view_" in need}
    row = REMEDIES[name].row()
    refused = {
        "anonymous": Client(),
        "staff without permissions": log_in(),
        "view only": log_in(*view),
        "its own only": log_in(own),
        "all but its own": log_in(*others, *views),
        "all but to view it": log_in(own, *others, *views - {*view}),
    }

    before = digest()
    for who, client in refused.items():
        confirm(site, client, name, row)
        assert digest() == before, who

    response = confirm(site, log_in(own, *view), name, row)

    assert response.status_code == HTTPStatus.FOUND, response.content.decode()
    assert digest() != before
    assert LogEntry.objects.filter(change_message__contains="because").count() == 1


@pytest.mark.parametrize("name", ASKS)
def test_an_action_that_only_asks_is_for_who_may_do_what_it_leads_to(site, name):
    """It is a POST because the list's ticks are one, and changes nothing for anybody."""
    own, view, row = ASKS[name], f"view_{model_of(name)}", row_of(name)
    where = address(site, f"{model_of(name)}_changelist", [])
    data = {"action": name.partition(".")[2], "_selected_action": str(row.pk)}
    before = digest()

    assert 'name="why"' in log_in(own, view).post(where, data).content.decode()
    for refused in (Client(), log_in(), log_in(view), log_in(own)):
        assert 'name="why"' not in refused.post(where, data).content.decode()
    assert digest() == before


@pytest.mark.parametrize("name", REMEDIES)
def test_a_superuser_may_do_every_remedy_but_not_without_a_reason(site, name):
    """A log of who did what is no use without why."""
    client, row = log_in(is_superuser=True), REMEDIES[name].row()
    before = digest()

    confirm(site, client, name, row, why="  ")
    assert digest() == before

    confirm(site, client, name, row)
    assert digest() != before


@pytest.mark.parametrize("name", REMEDIES)
def test_a_forged_form_does_nothing(site, name):
    """CSRF: the form must have come from our page."""
    known, row = log_in(is_superuser=True), REMEDIES[name].row()
    client = Client(enforce_csrf_checks=True)
    client.cookies = known.cookies
    before = digest()

    response = confirm(site, client, name, row)

    assert (response.status_code, digest()) == (HTTPStatus.FORBIDDEN, before)
