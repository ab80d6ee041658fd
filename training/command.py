"""Reports errors of commands: one line and exit code 2 for a user's mistake, a stack trace for anything else."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from training.errors import UserError
from training.redaction import hide_secrets

NO_SPACE = "No space left on device"  # the wording of the operating system, Java and safetensors


def exit_with_user_errors(main: Callable[[], None]) -> None:
    """Runs `main`; prints a UserError as one line on stderr and exits with code 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {hide_secrets(str(error))}", file=sys.stderr, flush=True)
        sys.exit(2)


@contextmanager
def explaining_full_disk(locations: str) -> Iterator[None]:
    """Turns "no space left on device" inside the block into a UserError that names `locations`, the likely disks."""
    try:
        yield
    except Exception as error:
        if NO_SPACE not in str(error):
            raise
        raise UserError(
            f"no space left on the disk of {locations}: free some space, then run the same command again"
        ) from None
