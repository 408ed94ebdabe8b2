"""`python -m tests.chaos.people PASSWORD`: who may log in to the shop's API."""

from __future__ import annotations

import sys

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402  # after setup

for number in range(8):
    email = f"client-{number}@example.com"
    User.objects.create_user(email, email, sys.argv[1])
