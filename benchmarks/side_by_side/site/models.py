from __future__ import annotations

from django.db import models


class Order(models.Model):
    """What a request writes, and what an effect looks at again before it acts."""

    status = models.CharField(max_length=20, default="placed")
    email = models.EmailField()
    total = models.DecimalField(max_digits=10, decimal_places=2)
    placed_at = models.DateTimeField(auto_now_add=True)
    # What a hand-written task marks as done, a bit for each of an order's effects; others have
    # rows of their own for that.
    done = models.BigIntegerField(default=0)

    class Meta:
        app_label = "bench"

    def __str__(self) -> str:
        return f"order {self.pk}"

    @classmethod
    def place(cls) -> Order:
        return cls.objects.create(email="ada@example.com", total="19.90")
