"""Limits what a framework sees of the settings to the keys that its entry in the table lists."""

from typing import Any

from training.config import Config
from training.config.frameworks import ADAPTATION_KEYS, SPECIFIC, shared_framework


class FrameworkSettings:
    """Holds the settings of one framework, each under the name of its key.

    >>> settings = FrameworkSettings(outer_lr=0.5)
    >>> settings.outer_lr
    0.5
    >>> settings.meta_lr
    Traceback (most recent call last):
    AttributeError: this framework does not list the key "meta_lr" in training/config/frameworks.py
    """

    def __init__(self, **values: Any) -> None:
        self._values = values

    def __getattr__(self, key: str) -> Any:
        if key.startswith("_") or key not in self._values:  # pickle asks for _values before it is there
            raise AttributeError(f'this framework does not list the key "{key}" in training/config/frameworks.py')
        return self._values[key]

    def replaced(self, **values: Any) -> "FrameworkSettings":
        """Returns a copy with other values for some keys."""
        return FrameworkSettings(**{**self._values, **values})

    def values(self) -> dict[str, Any]:
        """Returns the values by key, for the name of a model."""
        return dict(self._values)


def shared_settings(config: Config) -> FrameworkSettings:
    """Returns what `framework.shared` reads to learn theta^S."""
    keys = ("inner_lr", *shared_framework(config.framework.shared).keys)
    return FrameworkSettings(**{key: getattr(config.framework, key) for key in keys})


def adaptation_settings(config: Config) -> FrameworkSettings:
    """Returns what `framework.specific` reads to learn theta^i.

    Beside its keys these are `rounds`, the kind of each round in their order, and `seed`.
    """
    framework, specific = config.framework, SPECIFIC[config.framework.specific]
    keys = dict.fromkeys((*specific.keys, *(key for _, key in specific.rounds), *ADAPTATION_KEYS))
    return FrameworkSettings(
        **{key: getattr(framework, key) for key in keys},
        rounds=tuple(kind for kind, key in specific.rounds for _ in range(getattr(framework, key))),
        seed=config.seed,
    )
