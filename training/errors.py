"""Defines the error that a user can correct."""


class UserError(Exception):
    """Represents a mistake that the user can correct.

    The message is one line that says what is wrong, where, and what to do. Commands print it without a stack trace
    and exit with code 2.
    """
