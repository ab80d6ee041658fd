"""Passwords and tokens: settings must not hold any, since logs, models and reports show settings."""

import re

_IN_URL = r"(?<=://)[^/@\s]*:[^/@\s]+(?=@)"  # user:password
_PARAMETERS = r"(?<=[?&;])(?:[\w-]*(?:sig|signature|token|password|secret|accountkey))=[^&;\s]+"
_SECRET = re.compile(f"{_IN_URL}|{_PARAMETERS}", re.IGNORECASE)


def holds_secret(text: str) -> bool:
    """Whether a URL in `text` has a password, a token or a signature."""
    return bool(_SECRET.search(text))


def hide_secrets(text: str) -> str:
    """s3://me:pw@host/a?token=x becomes s3://***@host/a?***"""
    return _SECRET.sub("***", text)
