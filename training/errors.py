"""A user's mistake is one sentence and exit code 2; any other error keeps its trace."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake that the user can mend. The message says what, where and what to do, in one line."""


def exit_with_user_errors(main: Callable[[], None]) -> None:
    """Runs `main`; a UserError becomes one line on stderr and exit code 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
