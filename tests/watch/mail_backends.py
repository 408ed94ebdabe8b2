"""Mail servers as they may be."""

from __future__ import annotations

import threading

from django.core.mail.backends.base import BaseEmailBackend

may_answer = threading.Event()


class Away(BaseEmailBackend):
    def send_messages(self, _messages):
        raise ConnectionRefusedError


class Hung(BaseEmailBackend):
    def send_messages(self, _messages):
        may_answer.wait(20)
        return 1
