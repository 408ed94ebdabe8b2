from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("effects/", include("reliable_effects.watch.urls"))]
