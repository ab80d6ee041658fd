"""Learning frameworks, by name.

SHARED: how theta^S is learned. `learn(theta, patch, run)` is called in each round, on every rank with a patch of its
own; on return theta is the same on all ranks.
SPECIFIC: how theta^i is learned. A function (group, run) is one round for a group of domains, in place.
"""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from training.config import FrameworkConfig
from training.data.patch import Patch
from training.data.schema import Schema
from training.errors import UserError
from training.frameworks.round import RoundContext
from training.frameworks.shared.alternate import alternate
from training.frameworks.shared.dn import negotiate
from training.frameworks.shared.joint import joint
from training.frameworks.shared.maml import maml
from training.frameworks.shared.mldg import mldg
from training.frameworks.shared.pcgrad import pcgrad
from training.frameworks.shared.reptile import reptile
from training.frameworks.shared.weighted import add_uncertainty, weighted
from training.frameworks.specific.dr import regularize
from training.frameworks.specific.finetune import finetune
from training.frameworks.specific.subspace import subspace
from training.parameters.shared import SharedParameters

META = ("meta_lr", "meta_share", "second_order")


@dataclass(frozen=True)
class Framework:
    """Attributes:
    learn: one round.
    settings: the keys of FrameworkConfig that it reads beside inner_lr.
    prepare: gives the module what the framework trains beside it.
    """

    learn: Callable[[SharedParameters, Patch, RoundContext], None]
    settings: tuple[str, ...] = ()
    prepare: Callable[[nn.Module, Schema], None] = lambda model, schema: None


def leave(theta: SharedParameters, patch: Patch, run: RoundContext) -> None:
    """Leaves theta^S as it was drawn, for what a domain is to learn alone."""


def find_framework(name: str) -> Framework:
    """A framework for theta^S by its name, or by the import path of a `learn` of the user's own.

    Raises:
        UserError: there is none.
    """
    if name in SHARED:
        return SHARED[name]
    try:
        return Framework(pkgutil.resolve_name(name), ("outer_lr", "pcgrad_domains", *META))
    except (ValueError, ImportError, AttributeError) as error:
        raise UserError(f'framework.shared "{name}" cannot be imported: {error}') from None


def prepare(model: nn.Module, schema: Schema, config: FrameworkConfig) -> None:
    """Gives the module what its framework trains beside it."""
    find_framework(config.shared).prepare(model, schema)


SHARED = {
    "none": Framework(leave),
    "joint": Framework(joint),
    "alternate": Framework(alternate),
    "weighted": Framework(weighted, prepare=add_uncertainty),
    "pcgrad": Framework(pcgrad, ("pcgrad_domains",)),
    "maml": Framework(maml, META),
    "reptile": Framework(reptile, ("outer_lr",)),
    "mldg": Framework(mldg, META),
    "dn": Framework(negotiate, ("outer_lr",)),
}
SPECIFIC = {"dr": regularize, "finetune": finetune, "subspace": subspace}
