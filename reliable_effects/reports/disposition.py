"""What a download is called: safe in a header, and on a disk (RFC 6266)."""

from __future__ import annotations

import re
import unicodedata

from django.utils.http import content_disposition_header

_LONGEST = 200  # bytes as UTF-8; file systems keep 255 of a name, its extension included
# What parts paths, ends lines or headers, and what Windows refuses.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f"*/:<>?\\|\u2028\u2029]+')


def safe_name(text: str, extension: str) -> str:
    """*text* as a file's name, with *extension*; "report" where nothing of it can stand."""
    # Letters that turn the line around make "gpj.exe" of "exe.jpg".
    shown = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cs", "Co"))
    name = _UNSAFE.sub("-", shown).strip(" .-")
    name = name.encode()[:_LONGEST].decode(errors="ignore").rstrip(" .")
    return f"{name or 'report'}.{extension}"


def attachment(filename: str) -> str:
    header = content_disposition_header(as_attachment=True, filename=filename)
    assert header is not None  # noqa: S101  # with an attachment there always is one
    return header
