"""Offers the rules by which a section of the settings checks its own fields."""

from training.errors import UserError


def require(holds: bool, key: str, rule: str) -> None:
    """Raises UserError "config key KEY must be RULE" unless `holds`."""
    if not holds:
        raise UserError(f'config key "{key}" must be {rule}')


def require_at_least_one(section: object, prefix: str, *names: str) -> None:
    """Raises UserError if a count among the fields `names` of `section` is below 1."""
    for name in names:
        require(getattr(section, name) >= 1, f"{prefix}.{name}", "at least 1")


def require_above_zero(section: object, prefix: str, *names: str) -> None:
    """Raises UserError if a rate among the fields `names` of `section` is not above 0."""
    for name in names:
        require(getattr(section, name) > 0, f"{prefix}.{name}", "above 0")
