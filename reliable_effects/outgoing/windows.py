"""
How long partners remember an idempotency key, as their documentation has it.

A window that is too long charges somebody twice, so look yours up; these are where to begin.
"""

from __future__ import annotations

from datetime import timedelta

from ..conf import LONGEST_SPAN

STRIPE_V1 = timedelta(hours=24)
STRIPE_V2 = timedelta(days=30)
ADYEN = timedelta(days=7)
PAYPAL_ORDERS = timedelta(hours=6)
PAYPAL_PAYMENTS = timedelta(days=45)
CHECKOUT = timedelta(hours=24)
AWS = timedelta(hours=8)  # the shortest of its services; some keep them for 36 hours
AZURE = timedelta(minutes=5)
QONTO = timedelta(minutes=30)

FOR_EVER = LONGEST_SPAN
"""Of a call that may be repeated at any time: a PUT of the same, a partner that never forgets."""
