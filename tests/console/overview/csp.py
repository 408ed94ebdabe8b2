"""What a careful project answers with."""

from __future__ import annotations


def default_src_self(get_response):
    def middleware(request):
        response = get_response(request)
        response["Content-Security-Policy"] = "default-src 'self'"
        return response

    return middleware
