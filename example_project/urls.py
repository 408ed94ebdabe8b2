from __future__ import annotations

from django.contrib import admin
from django.urls import path

from example_project.shop import views

urlpatterns = [
    path("", views.home, name="home"),
    path("orders/<str:reference>/", views.order, name="order"),
    path("orders/<str:reference>/effects/", views.order_effects, name="order-effects"),
    path("admin/", admin.site.urls),
]
