"""Both admin sites, users named for what they may do, and a report that one may read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from reliable_effects.effects.registry import registry
from reliable_effects.reports import report
from tests.forgetting import forget_rows

from .matrix import REPORT
from .urls import SITES

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _the_sites(settings) -> Iterator[None]:
    settings.ROOT_URLCONF = "tests.console.permissions.urls"
    forget_rows()
    with registry.scratch():
        declare = report(REPORT, allowed=lambda *_, **__: True, fresh_for=timedelta(hours=1))
        declare(_usage)
        yield
    forget_rows()


def _usage() -> Iterator[dict[str, int]]:
    yield {"used": 7}


@pytest.fixture(params=SITES, ids=lambda site: site.name)
def site(request) -> AdminSite:
    return request.param


@pytest.fixture
def member() -> Callable[..., Client]:
    """`member("view_delivery", …)`: staff with these permissions alone; or a superuser."""
    return log_in


def log_in(*permissions: str, is_superuser: bool = False) -> Client:
    model = get_user_model()
    name = {model.USERNAME_FIELD: f"user-{next(_numbers)}@example.com"}
    user = model._default_manager.create(is_staff=True, is_superuser=is_superuser, **name)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    assert user.user_permissions.count() == len(permissions), permissions
    client = Client()
    client.force_login(user)
    return client
