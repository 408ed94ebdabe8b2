"""What a download is called: safe in a header, and on a disk (RFC 6266)."""

from __future__ import annotations

import re
import unicodedata

from django.utils.http import content_disposition_header

_LONGEST = 150  # characters; some systems keep 255 bytes of a name
# What parts paths or ends headers, and what Windows refuses.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f"*/:<>?\\|]+')


def safe_name(text: str, extension: str) -> str:
    """*text* as a file's name, with *extension*; "report" where nothing of it can stand."""
    # Letters that turn the line around make "gpj.exe" of "exe.jpg".
    shown = "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))
    name = _UNSAFE.sub("-", shown).strip(" .-")[:_LONGEST].rstrip(" .")
    return f"{name or 'report'}.{extension}"


def attachment(filename: str) -> str:
    header = content_disposition_header(as_attachment=True, filename=filename)
    assert header is not None  # noqa: S101  # with an attachment there always is one
    return header
