"""Users named for what they may do, and browsers that they have logged in with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

LIST = "/admin/reliable_effects/delivery/"
SETTLE = ("settle_delivery", "start_anew_delivery")
VIEW = ("view_delivery", "view_attempt", "view_outboxevent", "view_sweep")


def page_of(delivery) -> str:
    return f"{LIST}{delivery.pk}/change/"


@pytest.fixture
def log_in() -> Callable[..., Client]:
    """`log_in("view_delivery", …)`: a member of staff with these permissions and no others."""

    def log_in(*permissions: str) -> Client:
        user = User.objects.create_user(f"user-{User.objects.count()}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        assert user.user_permissions.count() == len(permissions)
        client = Client()
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def viewer(log_in) -> Client:
    return log_in(*VIEW)


@pytest.fixture
def operator(log_in) -> Client:
    return log_in(*VIEW, "redrive_delivery", "cancel_delivery", *SETTLE)
