"""Cells that depend on who reads: Django tells the methods that show a row of no request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Model
from django.http import HttpRequest


@dataclass(frozen=True, slots=True)
class ForReader:
    """
    A column, or a read-only field, of one request: to be named in `get_list_display` and the like.

    Two of the same are equal, for Django asks for fieldsets and read-only fields one after the other
    and looks for the one in the other.
    """

    name: str  # as its CSS class has it
    short_description: str
    show: Callable[[Any, HttpRequest], str]
    request: HttpRequest

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, row: Any) -> str:
        return self.show(row, self.request)


def may_open(model: type[Model], site: AdminSite, request: HttpRequest) -> bool:
    """Whether a link to a row's page on *site* would let this reader in."""
    if not site.is_registered(model):
        return False
    return bool(site.get_model_admin(model).has_view_or_change_permission(request))
