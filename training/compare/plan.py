"""Plans a comparison: which methods, on which data, with which settings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING

from training.config import Config, load_config, read_settings
from training.config.frameworks import framework_name, framework_pair
from training.errors import UserError


@dataclass
class DataSet:
    """Names a data set and how to make it. Settings and commands may contain {root} and {seed}."""

    config: str = MISSING  # a config file, such as those in conf/
    settings: list[str] = field(default_factory=list)  # key=value
    prepare: str | None = None  # a command that writes the log
    complete: str | None = None  # a command that adds to the tables after the build
    seeds: list[int] | None = None  # by default the seeds of the plan


@dataclass
class Search:
    """Lists the candidates of each method; a candidate is a string of key=value settings.

    `shared` has candidates by framework.shared, `specific` by framework.name or framework.specific. Methods that are
    not named use "default". Every method has equally many candidates, so that the budget is the same.
    """

    shared: dict[str, list[str]] = field(default_factory=lambda: {"default": [""]})
    specific: dict[str, list[str]] = field(default_factory=lambda: {"default": [""]})


@dataclass
class CompareConfig:
    """Describes a whole comparison, as its config file does."""

    root: str = MISSING  # the folder of data, models and results
    data: dict[str, DataSet] = field(default_factory=dict)
    only: list[str] | None = None  # runs these data sets alone
    models: list[str] = field(default_factory=lambda: ["mlp"])
    methods: list[str] = field(default_factory=list)  # values of framework.name, each combined with each model
    further: list[str] = field(default_factory=list)  # further single pairs, such as mlp+mamdr
    seeds: list[int] = field(default_factory=lambda: [0])
    settings: list[str] = field(default_factory=list)  # key=value, for every method and data set
    search: Search = field(default_factory=Search)
    parallel: int = 2  # trainings that run at the same time, each on one core
    published: str | None = None  # a folder of finished searches and cells, which are not run again
    publish: bool = False  # replaces that folder's content with all searches and cells at the end


@dataclass(frozen=True)
class Cell:
    """Names one result: a method with its model, on a data set, with a seed."""

    data: str
    method: str
    seed: int
    settings: str  # as JSON; other settings make another cell


@dataclass(frozen=True)
class WorkUnit:
    """Represents all cells that share one theta^S. One process fills them, one after the other.

    Attributes:
        root: the folder of its data and models. It does not influence the results.
        settings: key=value of the data set, the model and theta^S, without those that a search chooses.
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
        """Loads the config with additional `settings`."""
        return load_config(self.config, (*self.settings, *settings, f"framework.specific={specific}", "track=false"))

    def portable(self, *settings: str) -> list[str]:
        """Returns the config and all settings in a form that does not depend on the data's folder."""
        return portable([self.config, *self.settings, *settings], self.root)


def load_plan(path: str, settings: Sequence[str] = ()) -> CompareConfig:
    """Reads and checks the plan of a comparison.

    Raises:
        UserError: a key is unknown, missing or wrong.
    """
    plan = read_settings(CompareConfig, path, settings)
    for key in ("data", "seeds", "models"):
        if not getattr(plan, key):
            raise UserError(f'config key "{key}" of {path} is empty: name at least one')
    for name in plan.only or ():
        if name not in plan.data:
            raise UserError(f'config key "only" names {name}, which is not in data: {", ".join(plan.data)}')
    plan.data = {name: source for name, source in plan.data.items() if name in (plan.only or plan.data)}
    for stage in ("shared", "specific"):
        budgets = {name: len(candidates) for name, candidates in getattr(plan.search, stage).items()}
        if len(set(budgets.values())) != 1:
            raise UserError(f'config key "search.{stage}" must list as many candidates for each method: {budgets}')
    if not pairs(plan):
        raise UserError(f'config key "methods" of {path} is empty: name at least one, or a pair in further')
    if plan.publish and not plan.published:
        raise UserError('config key "publish" needs a folder: set published=FOLDER')
    if plan.parallel < 1:
        raise UserError('config key "parallel" must be at least 1')
    return plan


def pairs(plan: CompareConfig) -> list[tuple[str, str, str]]:
    """Returns the compared (model, shared, specific) in the order of the plan.

    Raises:
        UserError: a pair in `further` is malformed or names an unknown framework.
    """
    names = [(model, method) for model in plan.models for method in plan.methods]
    for pair in plan.further:
        model, plus, method = pair.partition("+")
        if not plus:
            raise UserError(f'"{pair}" in further is no pair: write MODEL+NAME, where NAME is a framework.name')
        names.append((model, method))
    return list(dict.fromkeys((model, *framework_pair(method)) for model, method in names))


def root_of(plan: CompareConfig, data: str, seed: int) -> Path:
    """Returns the folder of the tables and models of a data set and seed."""
    return Path(plan.root, data, f"seed-{seed}").absolute()


def fill_placeholders(text: str, plan: CompareConfig, data: str, seed: int) -> str:
    """Replaces {root} and {seed} in a setting or command."""
    return text.replace("{root}", str(root_of(plan, data, seed))).replace("{seed}", str(seed))


def data_settings(plan: CompareConfig, data: str, seed: int) -> tuple[str, ...]:
    """Returns the settings that all methods share on a data set and seed."""
    filled = [fill_placeholders(setting, plan, data, seed) for setting in plan.data[data].settings]
    return (*filled, *plan.settings, f"root={root_of(plan, data, seed)}", f"seed={seed}")


def portable(settings: Sequence[str], root: Path) -> list[str]:
    """Replaces the folder `root` in settings with {root}.

    >>> portable(["seed=1", "root=/data/run"], Path("/data/run"))
    ['seed=1', 'root={root}']
    """
    return [setting.replace(str(root), "{root}") for setting in settings]


def seeds_of(plan: CompareConfig, data: str) -> list[int]:
    """Returns the seeds of a data set."""
    return plan.data[data].seeds or plan.seeds


def work_units(plan: CompareConfig) -> Iterator[WorkUnit]:
    """Yields the work of the whole plan: first that of every data set's first seed, then of the second, and so on."""
    groups: dict[tuple[str, str], list[str]] = {}
    for model, shared, specific in pairs(plan):
        groups.setdefault((model, shared), []).append(specific)
    most_seeds = max(len(seeds_of(plan, data)) for data in plan.data)
    for turn in range(most_seeds):
        for data, source in plan.data.items():
            for seed in seeds_of(plan, data)[turn : turn + 1]:
                for (model, shared), values in groups.items():
                    settings = (*data_settings(plan, data, seed), f"model.name={model}", f"framework.shared={shared}")
                    root = root_of(plan, data, seed)
                    yield WorkUnit(data, model, shared, seed, root, source.config, settings, tuple(values))


def with_first_seed(plan: CompareConfig, work: WorkUnit) -> WorkUnit:
    """Returns the same work with its data set's first seed, on which settings are searched."""
    key = (work.data, work.model, work.shared)
    return next(unit for unit in work_units(plan) if (unit.data, unit.model, unit.shared) == key)


def candidates(plan: CompareConfig, work: WorkUnit, stage: str) -> list[list[str]]:
    """Returns the candidate settings of a stage: "shared" for theta^S, or a value of framework.specific."""
    if stage == "shared":
        return _candidates(plan.search.shared, work.shared) if work.shared != "none" else [[]]
    return _candidates(plan.search.specific, framework_name(work.shared, stage), stage)


def _candidates(space: dict[str, list[str]], *names: str) -> list[list[str]]:
    """Returns the candidates of the first of `names` that is in `space`, or the default ones."""
    settings = next((space[name] for name in names if name in space), space["default"])
    return [candidate.split() for candidate in settings]


def search_key(plan: CompareConfig, work: WorkUnit, stage: str, shared: Sequence[str] = ()) -> dict:
    """Returns everything that the search of a stage depends on, as JSON values.

    Args:
        shared: the settings that the search for theta^S chose before.
    """
    return {"settings": work.portable(*shared), "candidates": candidates(plan, work, stage)}
