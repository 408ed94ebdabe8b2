from __future__ import annotations

from django.db import models


class Row(models.Model):
    """What a handler commits, or not."""

    lane = models.CharField(max_length=40, db_index=True)

    class Meta:
        permissions = [("see_secret", "Can see the secret")]

    def __str__(self) -> str:
        return f"row {self.pk} of {self.lane}"
