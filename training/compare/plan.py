"""What is compared with what, and with which settings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING

from training.config import Config, load_config, read_settings
from training.config.frameworks import framework_name, framework_pair
from training.errors import UserError


@dataclass
class DataSet:
    """In settings and in the commands, {root} and {seed} are filled in."""

    config: str = MISSING  # a file as those in conf/
    settings: list[str] = field(default_factory=list)  # key=value
    prepare: str | None = None  # a command that makes the log
    complete: str | None = None  # a command that adds to the built tables
    seeds: list[int] | None = None  # absent: those of the plan


@dataclass
class Search:
    """The candidates of a method; each is some key=value settings in one string.

    By the name of framework.shared, or by framework.name or framework.specific, and "default" for those that are not
    named. As many for every method: the budget is the same.
    """

    shared: dict[str, list[str]] = field(default_factory=lambda: {"default": [""]})
    specific: dict[str, list[str]] = field(default_factory=lambda: {"default": [""]})


@dataclass
class CompareConfig:
    root: str = MISSING  # data, models and results lie here
    data: dict[str, DataSet] = field(default_factory=dict)
    only: list[str] | None = None  # of the data sets just these
    models: list[str] = field(default_factory=lambda: ["mlp"])
    methods: list[str] = field(default_factory=list)  # values of framework.name, each with each of the models
    further: list[str] = field(default_factory=list)  # single pairs beside these, as mlp+mamdr
    seeds: list[int] = field(default_factory=lambda: [0])
    settings: list[str] = field(default_factory=list)  # key=value, for everything
    search: Search = field(default_factory=Search)
    parallel: int = 2  # trainings at a time, each on one core
    published: str | None = None  # a folder of finished searches and cells, which are not run again ...
    publish: bool = False  # ... and which is written anew with all that there are at the end


@dataclass(frozen=True)
class Cell:
    """Names one result: a method with its model, on a data set, with a seed."""

    data: str
    method: str
    seed: int
    settings: str  # as JSON; other settings make another cell


@dataclass(frozen=True)
class Work:
    """All cells that stand on one theta^S: one process does them one after the other.

    Attributes:
        root: where its data and models lie; another one is the same work.
        settings: key=value of the data set, the model and theta^S, before what a search has found.
        specific: the values of framework.specific.
    """

    data: str
    model: str
    shared: str
    seed: int
    root: Path
    config: str
    settings: tuple[str, ...]
    specific: tuple[str, ...]

    def load(self, *settings: str, specific: str = "none") -> Config:
        own = (*self.settings, *settings, f"framework.specific={specific}", "track=false")
        return load_config(self.config, own)

    def portable(self, *settings: str) -> list[str]:
        """The config and the settings with further ones, the same wherever the data lie."""
        return portable([self.config, *self.settings, *settings], self.root)


def load_plan(path: str, settings: Sequence[str] = ()) -> CompareConfig:
    """Reads and checks a comparison. Raises UserError."""
    plan = read_settings(CompareConfig, path, settings)
    for key in ("data", "seeds", "models"):
        if not getattr(plan, key):
            raise UserError(f'config key "{key}" of {path} is empty: name at least one')
    for name in plan.only or ():
        if name not in plan.data:
            raise UserError(f'config key "only" names {name}, which is not in data: {", ".join(plan.data)}')
    plan.data = {name: source for name, source in plan.data.items() if name in (plan.only or plan.data)}
    for part in ("shared", "specific"):
        budgets = {name: len(candidates) for name, candidates in getattr(plan.search, part).items()}
        if len(set(budgets.values())) != 1:
            raise UserError(f'config key "search.{part}" must give as many candidates to each method: {budgets}')
    if not pairs(plan):
        raise UserError(f'config key "methods" of {path} is empty: name at least one, or a pair in further')
    if plan.publish and not plan.published:
        raise UserError('config key "publish" needs a folder: set published=FOLDER')
    if plan.parallel < 1:
        raise UserError('config key "parallel" must be at least 1')
    return plan


def pairs(plan: CompareConfig) -> list[tuple[str, str, str]]:
    """(model, shared, specific) of what is compared, in the order of the plan. Raises UserError."""
    names = [(model, method) for model in plan.models for method in plan.methods]
    for pair in plan.further:
        model, plus, method = pair.partition("+")
        if not plus:
            raise UserError(f'"{pair}" in further is no pair: give MODEL+NAME, where NAME is one of framework.name')
        names.append((model, method))
    return list(dict.fromkeys((model, *framework_pair(method)) for model, method in names))


def root_of(plan: CompareConfig, data: str, seed: int) -> Path:
    """Where the tables and models of a data set and seed lie."""
    return Path(plan.root, data, f"seed-{seed}").absolute()


def filled(text: str, plan: CompareConfig, data: str, seed: int) -> str:
    return text.replace("{root}", str(root_of(plan, data, seed))).replace("{seed}", str(seed))


def data_settings(plan: CompareConfig, data: str, seed: int) -> tuple[str, ...]:
    own = [filled(setting, plan, data, seed) for setting in plan.data[data].settings]
    return (*own, *plan.settings, f"root={root_of(plan, data, seed)}", f"seed={seed}")


def portable(settings: Sequence[str], root: Path) -> list[str]:
    return [setting.replace(str(root), "{root}") for setting in settings]


def seeds_of(plan: CompareConfig, data: str) -> list[int]:
    return plan.data[data].seeds or plan.seeds


def works(plan: CompareConfig) -> Iterator[Work]:
    """The work of the whole plan, the first seeds first."""
    groups: dict[tuple[str, str], list[str]] = {}
    for model, shared, specific in pairs(plan):
        groups.setdefault((model, shared), []).append(specific)
    most = max(len(seeds_of(plan, data)) for data in plan.data)
    for turn in range(most):
        for data, source in plan.data.items():
            for seed in seeds_of(plan, data)[turn : turn + 1]:
                for (model, shared), specific in groups.items():
                    settings = (*data_settings(plan, data, seed), f"model.name={model}", f"framework.shared={shared}")
                    root = root_of(plan, data, seed)
                    yield Work(data, model, shared, seed, root, source.config, settings, tuple(specific))


def of_first_seed(plan: CompareConfig, work: Work) -> Work:
    """The same work with the first seed of its data set, which settings are searched for with."""
    same = (work.data, work.model, work.shared)
    return next(one for one in works(plan) if (one.data, one.model, one.shared) == same)


def candidates(plan: CompareConfig, work: Work, part: str) -> list[list[str]]:
    """The settings that a part of a method may have: "shared" for theta^S, or a value of framework.specific."""
    if part == "shared":
        return _candidates(plan.search.shared, work.shared) if work.shared != "none" else [[]]
    return _candidates(plan.search.specific, framework_name(work.shared, part), part)


def _candidates(space: dict[str, list[str]], *names: str) -> list[list[str]]:
    found = next((space[name] for name in names if name in space), space["default"])
    return [one.split() for one in found]


def budget(plan: CompareConfig, work: Work, part: str, shared: Sequence[str] = ()) -> dict:
    """All that the search of a part depends on, as JSON has it; `shared`: what was chosen for theta^S before."""
    return {"settings": work.portable(*shared), "candidates": candidates(plan, work, part)}
