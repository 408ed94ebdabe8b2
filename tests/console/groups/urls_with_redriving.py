"""A site that has a page to redrive groups, as ours may."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.http import HttpResponse
from django.urls import path

from reliable_effects.console.groups.admin import register
from reliable_effects.outbox.admin import register as register_outbox


class Site(AdminSite):
    def get_urls(self):
        name = "reliable_effects_redriveoperation_add"
        return [path("redrive/", lambda _: HttpResponse(), name=name), *super().get_urls()]


site = Site(name="admin")
register(site)
register_outbox(site)

urlpatterns = [path("admin/", site.urls)]
