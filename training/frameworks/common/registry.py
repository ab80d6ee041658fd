"""Finds the functions of frameworks by name, by way of the table in training/config/frameworks.py.

A framework is imported when it is first used, so that naming, loading or serving a model imports none.
"""

import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

from training.config import FrameworkConfig
from training.config.frameworks import ADAPT, SHARED, shared_framework
from training.data.schema import Schema
from training.errors import UserError

if TYPE_CHECKING:
    from training.data.patch import Patch
    from training.frameworks.common.round import RoundContext
    from training.frameworks.specific.group_round import GroupContext
    from training.parameters.domain_offsets import OffsetGroup
    from training.parameters.shared import SharedParameters

    Learn = Callable[[SharedParameters, Patch, RoundContext], None]
    Adapt = Callable[[OffsetGroup, GroupContext], None]


def find_shared(name: str) -> "Learn":
    """Returns the function (theta, patch, context) that learns theta^S for one round.

    Every rank calls it with its own patch; when it returns, theta is the same on all ranks.

    Args:
        name: a name in SHARED, or the import path of your own function.

    Raises:
        UserError: the function cannot be imported.
    """
    try:
        return pkgutil.resolve_name(SHARED[name].learn if name in SHARED else name)
    except (ValueError, ImportError, AttributeError) as error:
        raise UserError(f'framework.shared "{name}" cannot be imported: {error}') from None


def find_specific(kind: str) -> "Adapt":
    """Returns the function (group, context) that learns theta^i of a group of domains for one round, in place."""
    return pkgutil.resolve_name(ADAPT[kind])


def prepare(model: nn.Module, schema: Schema, config: FrameworkConfig) -> None:
    """Adds to `model` what its framework for theta^S trains beside it."""
    path = shared_framework(config.shared).prepare
    if path is not None:
        add: Callable[[nn.Module, Schema], Any] = pkgutil.resolve_name(path)
        add(model, schema)
