"""
A Django site in one file: the fixture behind the package that PEER names.

DATABASE_URL is a PostgreSQL, REDIS_URL a Redis, TTL how many seconds keys are known.
"""

from __future__ import annotations

import os
from functools import wraps
from urllib.parse import urlsplit

import django
from django.conf import settings

PEER = os.environ["PEER"]
_DATABASE = urlsplit(os.environ["DATABASE_URL"])
TTL = float(os.environ["TTL"])
REDIS = os.environ["REDIS_URL"]

# As the README of django-idempotency-key says for several processes: a cache that they share, and
# the lock in Redis. CONFLICT_STATUS_CODE None answers as the first time did; the default is 409.
IDEMPOTENCY_KEY = {
    "CONFLICT_STATUS_CODE": None,
    "STORAGE": {"CLASS": "idempotency_key.storage.CacheKeyStorage", "CACHE_NAME": "default"},
    "LOCK": {
        "CLASS": "idempotency_key.locks.redis.MultiProcessRedisLock",
        "LOCATION": REDIS,
        "NAME": "fixture",
        "TTL": 1,
        "ENABLE": True,
        "TIMEOUT": 5,
    },
}
_DRF = PEER == "drf-idempotencykey"
settings.configure(
    SECRET_KEY="for the fixture only",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _DATABASE.path.strip("/"),
            "USER": _DATABASE.username,
            "PASSWORD": _DATABASE.password or "",
            "HOST": _DATABASE.hostname,
            "PORT": _DATABASE.port,
            # A view in a transaction, as both packages' users have it: else a handler that raises
            # keeps its row, and that would be the fixture's doing.
            "ATOMIC_REQUESTS": not _DRF,
        }
    },
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS,
            "TIMEOUT": int(TTL),
        }
    },
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        *(["rest_framework", "drf_idempotencykey"] if _DRF else []),
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        *([] if _DRF else ["idempotency_key.middleware.ExemptIdempotencyKeyMiddleware"]),
    ],
    IDEMPOTENCY_KEY=IDEMPOTENCY_KEY,
    IDEMPOTENCY_KEY_EXPIRATION_MINUTES=TTL / 60,
)
django.setup()

from django.contrib.auth import get_user_model, login  # noqa: E402  # Django is set up by now
from django.contrib.auth.models import Permission  # noqa: E402
from django.core.exceptions import PermissionDenied  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import transaction  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

from benchmarks.conformance_peers import fixture  # noqa: E402

_PERMISSION = "auth.view_group"  # any will do


def _guarded_by_middleware(handler, *, is_optional=False, is_private=False):
    from idempotency_key.decorators import idempotency_key  # noqa: PLC0415

    @idempotency_key(optional=is_optional)
    @wraps(handler)
    def view(request: HttpRequest, **arguments) -> HttpResponse:
        if is_private and not request.user.has_perm(_PERMISSION):
            raise PermissionDenied
        return handler(request, **arguments)

    return view


def _guarded_by_mixin(handler, *, is_optional=False, is_private=False, method="post"):
    from drf_idempotencykey.mixins import DrfIdempotencyKeyMixin  # noqa: PLC0415
    from rest_framework.authentication import BaseAuthentication  # noqa: PLC0415
    from rest_framework.permissions import AllowAny, BasePermission  # noqa: PLC0415
    from rest_framework.views import APIView  # noqa: PLC0415

    class Sessions(BaseAuthentication):
        """The package leaves unknown users alone, so whoever has no session is the same one."""

        def authenticate(self, request):
            user = request._request.user  # noqa: SLF001  # as SessionAuthentication does
            if not user.is_authenticated:
                user, _ = get_user_model().objects.get_or_create(username="everybody")
            return user, None

    class MaySee(BasePermission):
        def has_permission(self, request, view):  # noqa: ARG002
            return request.user.has_perm(_PERMISSION)

    def answer(self, request, **arguments):  # noqa: ARG001
        with transaction.atomic():  # as ATOMIC_REQUESTS would, and the record outside of it
            return handler(request, **arguments)

    attributes = {
        "authentication_classes": [Sessions],
        "permission_classes": [MaySee if is_private else AllowAny],
        "require_idempotency_key": not is_optional,
        method: answer,
    }
    return type("View", (DrfIdempotencyKeyMixin, APIView), attributes).as_view()


def _log_in(request: HttpRequest) -> HttpResponse:
    user, _ = get_user_model().objects.get_or_create(username=request.GET["user"])
    user.user_permissions.add(Permission.objects.get(codename="view_group"))
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse(status=204)


def _revoke(request: HttpRequest) -> HttpResponse:
    get_user_model().objects.get(username=request.GET["user"]).user_permissions.clear()
    return HttpResponse(status=204)


def _store(_: HttpRequest) -> HttpResponse:
    """All that the package has stored."""
    if _DRF:
        from drf_idempotencykey.models import IdempotencyKey  # noqa: PLC0415

        return HttpResponse(repr(list(IdempotencyKey.objects.values())))
    import redis  # noqa: PLC0415

    client = redis.Redis.from_url(REDIS)
    return HttpResponse(
        b"\n".join(key + b" " + (client.get(key) or b"") for key in client.scan_iter())
    )


guard = _guarded_by_mixin if _DRF else _guarded_by_middleware
urlpatterns = [
    path("echo", guard(fixture.echo)),
    path("status/<int:code>", guard(fixture.status)),
    path("slow", guard(fixture.slow)),
    path("large", guard(fixture.large)),
    path("counter", guard(fixture.counter, **({"method": "get"} if _DRF else {}))),
    path("optional", guard(fixture.echo, is_optional=True)),
    path("first/<int:code>", guard(fixture.first)),
    path("upload", guard(fixture.upload)),
    path("binary", guard(fixture.binary)),
    path("stream", guard(fixture.stream)),
    path("cookie", guard(fixture.cookie)),
    path("secret", guard(fixture.secret, is_private=True)),
    path("db", guard(fixture.db)),
    path("raise", guard(fixture.raise_)),
    path("raise-once", guard(fixture.raise_once)),
    path("reset", fixture.reset),
    path("arm", fixture.arm),
    path("rows", fixture.rows),
    path("login", _log_in),
    path("revoke", _revoke),
    path("store", _store),
]
application = get_wsgi_application()


def main() -> None:
    """Make the tables."""
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE fixture_row (id SERIAL PRIMARY KEY, done INTEGER)")


if __name__ == "__main__":
    main()
