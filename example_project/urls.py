from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from example_project.shop import views

urlpatterns = [
    path("", views.home, name="home"),
    path("orders/<str:reference>/", views.order, name="order"),
    path("orders/<str:reference>/effects/", views.order_effects, name="order-effects"),
    path("effects/", include("reliable_effects.watch.urls")),
    path("admin/", admin.site.urls),
]
