"""Finds and masks passwords and tokens in text, because logs, models and reports show settings."""

import re

_CREDENTIALS = r"(?<=://)[^/@\s]*:[^/@\s]+(?=@)"  # user:password in a URL
_PARAMETERS = r"(?<=[?&;])(?:[\w-]*(?:sig|signature|token|password|secret|accountkey))=[^&;\s]+"
_SECRET = re.compile(f"{_CREDENTIALS}|{_PARAMETERS}", re.IGNORECASE)


def holds_secret(text: str) -> bool:
    """Returns whether a URL in `text` contains a password, a token or a signature."""
    return bool(_SECRET.search(text))


def hide_secrets(text: str) -> str:
    """Masks every secret in `text`.

    >>> hide_secrets("s3://me:pw@host/a?token=x")
    's3://***@host/a?***'
    """
    return _SECRET.sub("***", text)
