"""The fixture's public routes and a few of ours on Starlette, behind asgi-idempotency-header."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from idempotency_header_middleware import IdempotencyHeaderMiddleware
from idempotency_header_middleware.backends.redis import RedisBackend
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_RUNS = Path(os.environ["FIXTURE_DIR"], "runs")


def _count_run() -> int:
    with _RUNS.open("ab") as file:
        file.write(b".")
        return file.tell()


async def echo(request: Request) -> Response:
    _count_run()
    media_type = request.headers.get("content-type", "application/octet-stream")
    # Not as media_type: Starlette would add a charset, and the package wants application/json bare.
    return Response(await request.body(), 201, headers={"content-type": media_type})


async def status(request: Request) -> Response:
    _count_run()
    code = request.path_params["code"]
    return Response(f"status:{code}", code, media_type="text/plain")


async def first(request: Request) -> Response:
    return Response(status_code=request.path_params["code"] if _count_run() == 1 else 201)


async def slow(request: Request) -> Response:
    _count_run()
    milliseconds = int(request.query_params.get("ms", "0"))
    await asyncio.sleep(milliseconds / 1000)
    return Response(f"slept:{milliseconds}", media_type="text/plain")


async def large(request: Request) -> Response:
    _count_run()
    body = b"x" * int(request.query_params.get("bytes", "0"))
    return Response(body, media_type="application/octet-stream")


async def secret(request: Request) -> Response:
    """Whose it is, as JSON, which the package keeps."""
    _count_run()
    return JSONResponse({"secret of": request.cookies.get("user", "nobody")})


async def counter(_: Request) -> Response:
    return JSONResponse({"count": _RUNS.stat().st_size if _RUNS.exists() else 0})


async def reset(_: Request) -> Response:
    _RUNS.unlink(missing_ok=True)
    return Response(status_code=204)


async def log_in(request: Request) -> Response:
    response = Response(status_code=204)
    response.set_cookie("user", request.query_params["user"])
    return response


application = Starlette(
    routes=[
        Route("/echo", echo, methods=["POST"]),
        Route("/optional", echo, methods=["POST"]),
        Route("/status/{code:int}", status, methods=["POST"]),
        Route("/first/{code:int}", first, methods=["POST"]),
        Route("/slow", slow, methods=["POST"]),
        Route("/large", large, methods=["POST"]),
        Route("/secret", secret, methods=["POST"]),
        Route("/counter", counter),
        Route("/reset", reset, methods=["POST"]),
        Route("/login", log_in, methods=["POST"]),
    ],
    middleware=[
        Middleware(
            IdempotencyHeaderMiddleware,
            backend=RedisBackend(
                Redis.from_url(os.environ["REDIS_URL"]), expiry=int(float(os.environ["TTL"]))
            ),
        )
    ],
)
