"""The section `framework`: how theta^S and theta^i are learned."""

from dataclasses import dataclass, fields

from omegaconf import MISSING

from training.config import frameworks
from training.config.rules import require, require_above_zero, require_at_least_one
from training.errors import UserError


@dataclass
class FrameworkConfig:
    """Settings of the frameworks; training/config/frameworks.py lists which framework reads which.

    Fields that are MISSING here get their values from others when a config is loaded, so none is absent afterwards.
    """

    name: str = MISSING  # a pair of frameworks, as mamdr or joint_dr; absent: mamdr
    shared: str = MISSING  # how theta^S is learned: a name in SHARED or an import path; absent: by name
    specific: str = MISSING  # how theta^i is learned: a name in SPECIFIC; absent: by name
    inner_lr: float = MISSING  # of Adam; alpha of Algorithm 1; absent: the framework's default in the table
    outer_lr: float = MISSING  # beta of Algorithm 1, and of Reptile's outer step; absent: likewise
    meta_lr: float = 1e-2  # MAML, MLDG: the rate of the look-ahead step
    meta_share: float = 0.2  # MAML: the share of a batch's rows, MLDG: of the domains, that judges this step
    second_order: bool = False  # MAML, MLDG: differentiate through that step
    pcgrad_domains: int = 8  # PCGrad: domains whose gradients are compared in one step
    dr_lr: float = 0.5  # gamma of Algorithm 2
    dr_inner_lr: float = 0.001  # alpha of Algorithm 2, chosen as the defaults in the table of frameworks
    dr_rounds: int = 3  # the most rounds of Algorithm 2 for a domain; validation may keep fewer
    dr_batch_size: int = MISSING  # of DR and finetuning; absent: training.batch_size
    finetune_lr: float = MISSING  # absent: dr_inner_lr
    finetune_rounds: int = 3  # the most passes over a domain's own rows; validation may keep fewer
    subspace_rank: int = 32  # subspace: the number of directions that theta^i mixes ...
    subspace_domains: int = 256  # ... learned by finetuning that many of the largest domains ...
    subspace_rows: int = 4096  # ... on at most this many rows of each
    subspace_rounds: int = 4  # the most steps by which theta^i may leave theta^S; validation may keep fewer
    helpers: int = 5  # k of Algorithm 2
    helper_rows: int = 128  # rows of a helper domain in one step
    helper_domains: int = 4096  # helper domains are drawn from a sample of at most this many domains
    stop_group: int = 200  # domains of similar size that share one choice of rounds
    specific_min_rows: int = 1  # a domain with fewer training rows keeps theta^i = 0
    specific_dtype: str = "float32"  # how theta^i is stored: float32 | float16
    # after a warm start, a tail domain keeps theta^i if its training rows changed by less than this share
    refresh_share: float | None = None
    interleave: bool = False  # Algorithm 3 to the letter: DN, then DR, in each epoch

    def check(self) -> None:
        """Raises UserError if a value is out of range."""
        if not frameworks.is_shared(self.shared):
            raise UserError(
                f'framework.shared "{self.shared}" does not exist: choose one of {", ".join(frameworks.SHARED)}, '
                "or the import path of your own function, as my_package.my_file:learn"
            )
        if self.specific not in frameworks.SPECIFIC:
            raise UserError(
                f'framework.specific "{self.specific}" does not exist: choose one of {", ".join(frameworks.SPECIFIC)}'
            )
        counts = ("helpers", "helper_rows", "dr_rounds", "finetune_rounds", "dr_batch_size", "stop_group")
        subspace = ("subspace_rank", "subspace_domains", "subspace_rows", "subspace_rounds")
        require_at_least_one(self, "framework", *counts, *subspace)
        require_above_zero(self, "framework", "inner_lr", "outer_lr", "dr_inner_lr", "meta_lr", "dr_lr", "finetune_lr")
        dtypes = ("float32", "float16")
        require(self.specific_dtype in dtypes, "framework.specific_dtype", "float32 or float16")
        require(self.refresh_share is None or self.refresh_share > 0, "framework.refresh_share", "above 0")
        require(self.helper_domains >= 2, "framework.helper_domains", "at least 2")
        require(0 < self.meta_share < 1, "framework.meta_share", "between 0 and 1")
        require(self.pcgrad_domains >= 2, "framework.pcgrad_domains", "at least 2")
        require(
            not self.interleave or self.name == "mamdr",
            "framework.interleave",
            "false unless framework.name is mamdr",
        )


def _require_listed_keys() -> None:
    """Refuses a key that is neither in the table of frameworks nor declared to influence no model."""
    listed = {"inner_lr", *frameworks.ADAPTATION_KEYS, *frameworks.IN_NO_NAME}
    for shared in (*frameworks.SHARED.values(), frameworks.USER_FRAMEWORK):
        listed |= set(shared.keys)
    for specific in frameworks.SPECIFIC.values():
        listed |= {*specific.keys, *(key for _, key in specific.rounds)}
    keys = {field.name for field in fields(FrameworkConfig)}
    if listed != keys:
        raise TypeError(
            f"keys of framework that FrameworkConfig and training/config/frameworks.py do not share: {listed ^ keys}"
        )


_require_listed_keys()
