"""Lists all frameworks in one table, and holds the section `framework` of the settings.

The registry, the checks of the config, the default rates, the names of models and the tables in docs/ml-engineer.md
follow from it. A framework is one file in training/frameworks, one entry here, and a field in FrameworkConfig for each
key that no other framework has.

A framework sees only the keys that its entry lists, and exactly these keys are hashed into the name of a model. A key
that influences a model therefore cannot be missing from the model's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from omegaconf import MISSING

from training.config.rules import require, require_above_zero, require_at_least_one
from training.errors import UserError


@dataclass(frozen=True, kw_only=True)
class SharedFramework:
    """Describes how theta^S is learned.

    Attributes:
        learn: the import path of a function (theta, patch, context), which learns for one round.
        keys: the keys of `framework` that it reads beside `inner_lr`.
        inner_lr: the default of `framework.inner_lr`, found on validation rows (docs/results/table_x/search.json).
        outer_lr: the default of `framework.outer_lr`, found likewise.
        prepare: the import path of a function (model, schema), which adds what is trained beside the model.
        title: what it does, in a few words.
        paper: where it was published.
    """

    learn: str
    keys: tuple[str, ...] = ()
    inner_lr: float = 0.002
    outer_lr: float = 0.5
    prepare: str | None = None
    title: str = ""
    paper: str = ""


@dataclass(frozen=True, kw_only=True)
class SpecificFramework:
    """Describes how theta^i is learned.

    Attributes:
        rounds: pairs of a kind of round (a name in ADAPT) and the key that holds how many rounds of it there are.
        keys: the keys of `framework` that it reads beside those in `rounds` and ADAPTATION_KEYS.
        title: what it does, in a few words.
        paper: where it was published.
    """

    rounds: tuple[tuple[str, str], ...] = ()
    keys: tuple[str, ...] = ()
    title: str = ""
    paper: str = ""


LOOK_AHEAD = ("meta_lr", "meta_share", "second_order")
OF_DR = ("dr_lr", "dr_inner_lr", "helpers")
FOLDER = "training.frameworks"

SHARED: Mapping[str, SharedFramework] = {
    "none": SharedFramework(
        learn=f"{FOLDER}.shared.none:leave",
        title="leaves θˢ as it was initialized, for a θⁱ that learns alone",
    ),
    "joint": SharedFramework(
        learn=f"{FOLDER}.shared.joint:joint",
        title="minimizes the mean loss over shuffled rows of all domains",
    ),
    "alternate": SharedFramework(
        learn=f"{FOLDER}.shared.alternate:alternate",
        title="trains on one domain after another",
    ),
    "weighted": SharedFramework(
        learn=f"{FOLDER}.shared.weighted:weighted",
        prepare=f"{FOLDER}.shared.weighted:add_uncertainty",
        title="weights each domain's loss by a learned uncertainty",
        paper="Kendall, Gal and Cipolla, CVPR 2018",
    ),
    "pcgrad": SharedFramework(
        learn=f"{FOLDER}.shared.pcgrad:pcgrad",
        keys=("pcgrad_domains",),
        inner_lr=0.0005,
        title="projects gradients of domains that conflict",
        paper="Yu et al., NeurIPS 2020, Algorithm 1",
    ),
    "maml": SharedFramework(
        learn=f"{FOLDER}.shared.maml:maml",
        keys=LOOK_AHEAD,
        title="learns parameters from which one step serves each domain",
        paper="Finn, Abbeel and Levine, ICML 2017",
    ),
    "reptile": SharedFramework(
        learn=f"{FOLDER}.shared.reptile:reptile",
        keys=("outer_lr",),
        inner_lr=0.004,
        outer_lr=0.3,
        title="steps towards where training on each domain alone leads",
        paper="Nichol, Achiam and Schulman, 2018, Algorithm 1",
    ),
    "mldg": SharedFramework(
        learn=f"{FOLDER}.shared.mldg:mldg",
        keys=LOOK_AHEAD,
        inner_lr=0.001,
        title="learns from some domains what serves the others",
        paper="Li et al., AAAI 2018, Algorithm 1",
    ),
    "dn": SharedFramework(
        learn=f"{FOLDER}.shared.dn:negotiate",
        keys=("outer_lr",),
        inner_lr=0.004,
        title="negotiates between domains: Domain Negotiation",
        paper="MAMDR, ICDE 2023, Algorithm 1",
    ),
}

ADAPT: Mapping[str, str] = {  # by kind of round: the import path of a function (group, context), one round in place
    "dr": f"{FOLDER}.specific.dr:regularize",
    "finetune": f"{FOLDER}.specific.finetune:finetune",
    "subspace": f"{FOLDER}.specific.subspace:subspace",
}
SPECIFIC: Mapping[str, SpecificFramework] = {
    "none": SpecificFramework(title="adds nothing by domain"),
    "finetune": SpecificFramework(
        rounds=(("finetune", "finetune_rounds"),),
        keys=("finetune_lr",),
        title="trains θⁱ on the domain's own rows",
    ),
    "dr": SpecificFramework(
        rounds=(("dr", "dr_rounds"),),
        keys=OF_DR,
        title="regularizes θⁱ by helper domains: Domain Regularization",
        paper="MAMDR, ICDE 2023, Algorithm 2",
    ),
    "dr_finetune": SpecificFramework(
        rounds=(("dr", "dr_rounds"), ("finetune", "finetune_rounds")),
        keys=(*OF_DR, "finetune_lr"),
        title="runs Domain Regularization, then finetunes",
        paper="MAMDR, ICDE 2023",
    ),
    "subspace": SpecificFramework(
        rounds=(("subspace", "subspace_rounds"),),
        keys=("subspace_rank", "subspace_domains", "subspace_rows", "finetune_rounds", "finetune_lr"),
        title="mixes the directions in which large domains differ",
        paper="this project",
    ),
}
# what every framework for theta^i reads
ADAPTATION_KEYS = (
    "dr_batch_size",
    "helper_rows",
    "helper_domains",
    "stop_group",
    "specific_min_rows",
    "specific_dtype",
)
# not hashed: names stand in a model's name themselves, interleave changes what is hashed, and refresh_share decides
# which domains keep the theta^i that an earlier model learned
IN_NO_NAME = ("name", "shared", "specific", "interleave", "refresh_share")

# what a framework of the user's own may read: its keys are not known
USER_FRAMEWORK = SharedFramework(learn="", keys=("outer_lr", "pcgrad_domains", *LOOK_AHEAD))

PAPER_NAMES = {
    "mamdr": ("dn", "dr"),
    "mamdr_finetune": ("dn", "dr_finetune"),
    "separate": ("none", "finetune"),
}


@dataclass
class FrameworkConfig:
    """Holds the section `framework`; the table above lists which framework reads which key.

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
    dr_inner_lr: float = 0.001  # alpha of Algorithm 2, chosen as the rates in the table
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
        if not is_shared(self.shared):
            raise UserError(
                f'framework.shared "{self.shared}" does not exist: choose one of {", ".join(SHARED)}, '
                "or the import path of your own function, as my_package.my_file:learn"
            )
        if self.specific not in SPECIFIC:
            raise UserError(f'framework.specific "{self.specific}" does not exist: choose one of {", ".join(SPECIFIC)}')
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


def shared_framework(name: str) -> SharedFramework:
    """Returns the entry of a framework for theta^S; an import path gets that of the user's own frameworks."""
    return SHARED.get(name, USER_FRAMEWORK)


def is_shared(name: str) -> bool:
    """Says whether `name` can be framework.shared: a name in SHARED, or an import path.

    >>> is_shared("dn"), is_shared("my_package.my_file:learn"), is_shared("dr")
    (True, True, False)
    """
    return name in SHARED or ":" in name


def framework_name(shared: str, specific: str) -> str:
    """Returns the name of a pair of frameworks: the papers' name if it has one.

    >>> framework_name("joint", "none"), framework_name("joint", "dr"), framework_name("dn", "dr")
    ('joint', 'joint_dr', 'mamdr')
    """
    by_pair = {pair: name for name, pair in PAPER_NAMES.items()}
    plain = shared if specific == "none" else f"{shared}_{specific}"
    return by_pair.get((shared, specific), plain)


def framework_pair(name: str) -> tuple[str, str]:
    """Returns the pair (shared, specific) that `name` stands for.

    >>> framework_pair("mamdr"), framework_pair("alternate_dr_finetune")
    (('dn', 'dr'), ('alternate', 'dr_finetune'))

    Raises:
        UserError: no pair has this name.
    """
    if name in PAPER_NAMES:
        return PAPER_NAMES[name]
    for specific in sorted(SPECIFIC, key=len, reverse=True):
        shared = name.removesuffix(f"_{specific}")
        if shared != name and is_shared(shared):
            return shared, specific
    if is_shared(name):
        return name, "none"
    suffixes = ", ".join(f"_{specific}" for specific in SPECIFIC if specific != "none")
    raise UserError(
        f'framework.name "{name}" does not exist: choose one of {", ".join(SHARED)}, one of them followed by '
        f"{suffixes}, or {', '.join(PAPER_NAMES)}"
    )


def _require_listed_keys() -> None:
    """Refuses a key that is neither in the table of frameworks nor declared to influence no model."""
    listed = {"inner_lr", *ADAPTATION_KEYS, *IN_NO_NAME}
    for shared in (*SHARED.values(), USER_FRAMEWORK):
        listed |= set(shared.keys)
    for specific in SPECIFIC.values():
        listed |= {*specific.keys, *(key for _, key in specific.rounds)}
    keys = {field.name for field in fields(FrameworkConfig)}
    if listed != keys:
        raise TypeError(
            f"keys of framework that only one of FrameworkConfig and the table of frameworks names: {listed ^ keys}"
        )


_require_listed_keys()
