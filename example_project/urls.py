from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from example_project.shop import api, report_views, trial_views, views, webhooks

urlpatterns = [
    path("", views.home, name="home"),
    path("orders/<str:reference>/", views.order, name="order"),
    path("orders/<str:reference>/effects/", views.order_effects, name="order-effects"),
    path("effects/", include("reliable_effects.watch.urls")),
    path("trials/", trial_views.trials, name="trials"),
    path("trials/<int:pk>/", trial_views.trial, name="trial"),
    path("trials/<int:pk>/effects/", trial_views.trial_effects, name="trial-effects"),
    path("trials/<int:pk>/move/", trial_views.move_trial, name="move-trial"),
    path("trials/<int:pk>/subscribe/", trial_views.end_by_subscribing, name="subscribe"),
    path("webhooks/partners/", webhooks.partners_webhook, name="partners-webhook"),
    path("api/", include(api.router.urls)),
    path("api/orders/", api.Orders.as_view(), name="api-orders"),
    path("api/schema/", api.schema, name="api-schema"),
    path("reports/weekly/", report_views.this_week, name="this-week"),
    path("reports/weekly/<str:week>/", report_views.weekly, name="weekly-usage"),
    path("reports/usage/", report_views.my_usage, name="my-usage"),
    path("reports/usage/<str:week>/", report_views.my_usage, name="my-usage-of"),
    path("admin/", admin.site.urls),
]
