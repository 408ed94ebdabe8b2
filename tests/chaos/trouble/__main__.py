"""`python -m tests.chaos.trouble`: promise one effect that kills whoever runs it."""

from __future__ import annotations

import django

django.setup()

from django.db import transaction  # noqa: E402  # after setup

from example_project.shop.models import Order  # noqa: E402
from tests.chaos.trouble.events import trouble  # noqa: E402

with transaction.atomic():
    trouble.emit(Order.objects.order_by("pk").first())
