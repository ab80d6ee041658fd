"""The names of learning frameworks: a pair of how theta^S is learned and what a domain adds.

    joint            (joint, none)            dn_finetune      (dn, finetune)
    joint_dr         (joint, dr)              mamdr            (dn, dr), the paper's name for it

A framework of the user's own is named by its import path, as my_package.my_file:learn, and so is each pair with it.
"""

from training.errors import UserError

SHARED = ("none", "joint", "alternate", "weighted", "pcgrad", "maml", "reptile", "mldg", "dn")
SPECIFIC = ("none", "finetune", "dr", "dr_finetune", "subspace")
PAPER_NAMES = {
    "mamdr": ("dn", "dr"),
    "mamdr_finetune": ("dn", "dr_finetune"),
    "separate": ("none", "finetune"),
}


def framework_name(shared: str, specific: str) -> str:
    """The name of a pair: the papers' where it has one."""
    of_papers = {pair: name for name, pair in PAPER_NAMES.items()}
    plain = shared if specific == "none" else f"{shared}_{specific}"
    return of_papers.get((shared, specific), plain)


def framework_pair(name: str) -> tuple[str, str]:
    """The pair of a name. Raises UserError if there is none."""
    if name in PAPER_NAMES:
        return PAPER_NAMES[name]
    for specific in sorted(SPECIFIC, key=len, reverse=True):
        shared = name.removesuffix(f"_{specific}")
        if shared != name and is_shared(shared):
            return shared, specific
    if is_shared(name):
        return name, "none"
    suffixes = ", ".join(f"_{specific}" for specific in SPECIFIC[1:])
    raise UserError(
        f'framework.name "{name}" does not exist: choose one of {", ".join(SHARED)}, one of them with {suffixes} '
        f"behind it, or {', '.join(PAPER_NAMES)}"
    )


def is_shared(name: str) -> bool:
    """Whether `name` can stand for framework.shared: a known one, or an import path."""
    return name in SHARED or ":" in name
