"""A user's mistake is one sentence and exit code 2; any other error keeps its trace."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from training.redaction import hide_secrets

NO_SPACE = "No space left on device"  # as the system, Java and safetensors say it


class UserError(Exception):
    """A mistake that the user can mend. The message says what, where and what to do, in one line."""


def exit_with_user_errors(main: Callable[[], None]) -> None:
    """Runs `main`; a UserError becomes one line on stderr and exit code 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {hide_secrets(str(error))}", file=sys.stderr, flush=True)
        sys.exit(2)


@contextmanager
def explaining_full_disk(places: str) -> Iterator[None]:
    """Lets a disk that is full while the block runs be a UserError that names `places`, one of which it holds."""
    try:
        yield
    except Exception as error:
        if NO_SPACE not in str(error):
            raise
        raise UserError(f"no space left on the disk of {places}: free some, and run the same command again") from None
