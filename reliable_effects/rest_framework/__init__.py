"""What REST framework gets of this app: `pip install django-reliable-effects[drf]`."""

from __future__ import annotations

from .accepted import accepted
from .outward import Outward
from .shedding import ShedLoad
from .status import EffectStatusViewSet

__all__ = ["EffectStatusViewSet", "Outward", "ShedLoad", "accepted"]
