"""The configuration: typed dataclasses, filled from a YAML file and dotted key=value arguments by OmegaConf.

The names here are the names in YAML files and on the command line. A job gets its configuration by

    config = parse_arguments(["--config", "conf/ml_latest_small.yaml", "training.epochs=3"])
"""

import argparse
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args, get_origin

import yaml
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from training.column_names import LENGTH, RESERVED
from training.config import rates
from training.config.framework_names import SHARED, SPECIFIC, framework_name, framework_pair, is_shared
from training.errors import UserError
from training.files.paths import local_path
from training.redaction import holds_secret

T = TypeVar("T")


@dataclass
class ColumnsConfig:
    """Which columns of a csv, parquet or delta source hold what; for movielens_1m which one is the domain."""

    user: str = "user"
    item: str = "item"
    domain: str = "domain"
    label: str | None = None  # absent: every row is a positive, and negatives are drawn
    time: str | None = None  # the latest of equal rows is kept
    event: str | None = None  # rows that differ here are not equal: one (user, item, domain) has several samples
    split: str | None = None  # train, val or test; absent: drawn by data.split


@dataclass
class FeatureConfig:
    """A further feature of the samples, made from a column of the log."""

    kind: str = MISSING  # category | dense (a number) | list (of categories) | sequence (of item keys, newest last)
    of: str = "row"  # user | item: the latest value of each is used; row: the row's own, where the log has labels
    column: str | None = None  # absent: named as the feature
    length: int = 20  # of a list or sequence: of longer ones the last values are kept
    separator: str = "|"  # between the values of a list or sequence that the log has as one string


@dataclass
class SyntheticConfig:
    """Of pipelines/generate_taobao_online.py: the whole of Taobao-online (table I), and what labels are drawn from."""

    domains: int = 69_102
    users: int = 84_307_785
    items: int = 16_385_662
    samples: int = 489_852_853
    conflict: float = 0.5  # the domains' own share of the signal, 0 to 1
    noise: float = 0.0  # the share of labels that are turned round


@dataclass
class DataConfig:
    source: str = MISSING  # a name in pipelines/sources
    path: str = MISSING
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    positive_at: float | None = None  # label = (value >= positive_at); absent: the column holds 0 and 1
    features: dict[str, FeatureConfig] = field(default_factory=dict)  # by name: beside user, item and domain ids
    domains: list[str] | None = None  # keep only these domain keys
    largest_domains: int | None = None  # keep only so many domains: those with most rows
    user_share: float | None = None  # keep only this share of the users, chosen by a fixed hash of their keys
    ctr_ratio: float | None = None  # positives / samples where negatives are drawn; absent: by domain ...
    ctr_range: list[float] = field(default_factory=lambda: [0.2, 0.5])  # ... uniform in this range
    split: list[float] = field(default_factory=lambda: [0.6, 0.2, 0.2])  # train, val, test
    split_at: list[str] | None = None  # instead: val and test start at these times (numbers or timestamps, UTC)
    since: str | None = None  # keep only rows from this time on ...
    until: str | None = None  # ... and before this
    since_version: int | None = None  # of a delta source: keep only rows that later versions have added
    incremental: bool = False  # build_domains adds the rows that are new in the log to the tables that are there
    bucket_rows: int = 1_000_000  # the target size of a bucket
    head_rows: int | None = None  # a domain with more rows is a head domain; absent: half of bucket_rows
    scale: float = 1.0  # the share of users, items and samples that generate_taobao_online draws, of all domains
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)


@dataclass
class ChecksConfig:
    """Of sql/checks: what a build may change since the last one with the same data settings and still be published."""

    vanished_domains: float = 0.5  # the share of the domains that may be gone
    label_rate: float = 0.2  # by how much the share of positives may differ


@dataclass
class ModelConfig:
    name: str = "mlp"  # a name in training/models, or the import path of a module of your own
    embedding_dim: int = 16
    embedding_scale: float = 0.05  # the standard deviation that embeddings are drawn with
    hidden: list[int] = field(default_factory=lambda: [256, 128, 64])  # of mmoe, cgc and ple: those of each expert
    dropout: float = 0.5
    pooling: str = "mean"  # of sequences: mean | attention (DIN)
    tower: list[int] = field(default_factory=lambda: [64])  # hidden layers of a domain; star: of its auxiliary network
    experts: int = 2  # mmoe, cgc, ple: shared by all domains
    specific_experts: int = 1  # cgc, ple: of each domain
    levels: int = 2  # ple: extraction networks, autoint: interacting layers, one on the other
    heads: int = 4  # autoint: of an interacting layer
    user_vectors: str | None = None  # a Delta table (key, vector): frozen instead of learned user embeddings
    item_vectors: str | None = None


@dataclass
class ALSConfig:
    """Of pipelines/als_vectors.py."""

    rank: int = 16  # the width of the vectors
    iterations: int = 10
    regularization: float = 0.1
    confidence: float = 10.0  # a positive counts 1 + so many times as much as a pair that never met


@dataclass
class ScoreConfig:
    """Of pipelines/score.py."""

    requests: str | None = None  # a Delta table (domain, user[, item]) of keys; absent: all users in all their domains
    top_k: int = 10  # items that are kept for a user in a domain
    promoted: bool = True  # by the models that were promoted, where some were; false: by that of these settings


@dataclass
class ServeConfig:
    """Of pipelines/export_model.py."""

    cached_domains: int = 1000  # whose theta^i the served model keeps in memory


@dataclass
class PromoteConfig:
    """Of pipelines/promote.py."""

    margin: float = 0.002  # in mean-domain AUC: by how much a model may be worse than the one that is served
    domain: str | None = None  # a domain's key: decide for that one; absent: for all
    back_to: str | None = None  # a model_version that was promoted before, to be served again


@dataclass
class FrameworkConfig:
    name: str | None = None  # a preset that sets shared and specific, unless they are given
    shared: str | None = None  # how theta^S is learned: one of SHARED; none leaves it as it was drawn
    specific: str | None = None  # what a domain adds: one of SPECIFIC
    inner_lr: float | None = (
        None  # of Adam; alpha of Algorithm 1; absent: the framework's own, in training/config/rates.py
    )
    outer_lr: float | None = None  # beta of Algorithm 1, and of Reptile's outer step; absent: likewise
    meta_lr: float = 1e-2  # MAML, MLDG: the rate of the step that is looked ahead
    meta_share: float = 0.2  # MAML: of a batch's rows, MLDG: of the domains that this step is judged by
    second_order: bool = False  # MAML, MLDG: differentiate through that step
    pcgrad_domains: int = 8  # PCGrad: whose gradients are compared in one step
    dr_lr: float = 0.5  # gamma of Algorithm 2
    dr_inner_lr: float = rates.SPECIFIC_INNER  # alpha of Algorithm 2
    dr_rounds: int = 3  # how often Algorithm 2 runs for each domain, at most; a stop may keep fewer
    dr_batch_size: int | None = None  # of DR and finetuning; absent: training.batch_size
    finetune_lr: float | None = None  # absent: that of DR
    finetune_rounds: int = 3  # passes over a domain's own rows, at most; a stop may keep fewer
    subspace_rank: int = 32  # subspace: the directions that theta^i is a mix of ...
    subspace_domains: int = 256  # ... learned by finetuning so many of the largest domains ...
    subspace_rows: int = 4096  # ... from at most so many rows of each
    subspace_rounds: int = 4  # how far theta^i may go from theta^S, in so many steps; a stop may keep fewer
    helpers: int = 5  # k of Algorithm 2
    helper_rows: int = 128  # rows of a helper domain in one step
    helper_domains: int = 4096  # helper domains are drawn from a sample of at most so many domains
    stop_group: int = 200  # domains of like size that share one choice of rounds
    specific_min_rows: int = 1  # training rows of a domain that learns theta^i; a smaller one keeps zero
    specific_dtype: str = "float32"  # what theta^i is stored as: float32 | float16
    refresh_share: float | None = (
        None  # after a warm start: tail domains whose training rows changed by less keep theta^i
    )
    interleave: bool = False  # Algorithm 3 to the letter: DN, then DR, in each epoch


@dataclass
class TrainingConfig:
    epochs: int = 50  # at most
    warm_start: bool = False  # start from the model, with these settings, of the newest earlier version of the tables
    patience: int = 3  # epochs without a better validation AUC before the stop
    batch_size: int = 1024
    rounds_per_epoch: int = 1
    pack: bool = True  # small domains share a batch; off: every batch is pure in its domain
    sharded: list[str] = field(default_factory=list)  # vocabularies whose tables lie apart on the ranks, as user_id
    cache_rows: int = 20_000_000  # of sharded tables, that a rank may hold of other ranks; patches are cut to fit
    device: str = "auto"  # auto | cpu | cuda


@dataclass
class Config:
    root: str = MISSING  # tables lie in ROOT/tables, models in ROOT/models
    seed: int = 0
    track: bool = True  # in MLflow, see training/tracking.py
    data: DataConfig = field(default_factory=DataConfig)
    checks: ChecksConfig = field(default_factory=ChecksConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    als: ALSConfig = field(default_factory=ALSConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    promote: PromoteConfig = field(default_factory=PromoteConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)
    framework: FrameworkConfig = field(default_factory=FrameworkConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def table(self, name: str) -> str:
        root = self.root if "://" in self.root else str(self.folder())
        return f"{root.rstrip('/')}/tables/{name}"

    def folder(self, *names: str) -> Path:
        """A folder or file below ROOT on this machine; or below its local copy if ROOT is a URL."""
        return local_path(self.root).joinpath(*names)


def seconds_of(time: str) -> float | None:
    """A time as the log's are read: a number, or a timestamp (UTC) as seconds since 1970; None if it is neither."""
    try:
        return float(time)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def parse_arguments(arguments: Sequence[str]) -> Config:
    """Reads `--config FILE key=value ...` into a checked Config. Raises UserError."""
    return load_config(*split_arguments(arguments))


def split_arguments(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The file and the settings of `--config FILE key=value ...`."""
    parser = argparse.ArgumentParser(description="Settings are described in training/config/__init__.py.")
    parser.add_argument("--config", required=True, help="a YAML file, as those in conf/")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="dotted keys that override the file")
    parsed = parser.parse_args(arguments)
    return parsed.config, parsed.settings


def load_config(path: str, settings: Sequence[str] = ()) -> Config:
    """Merges defaults, the YAML file at `path` and dotted `settings`, and checks the result.

    Raises:
        UserError: as `read_settings`, or a value lies out of range or holds a password.
    """
    config = read_settings(Config, path, settings)
    for key, value in flatten(asdict(config)).items():
        if holds_secret(str(value)):
            raise UserError(
                f'config key "{key}" holds a password or token, which logs, models and reports would show: leave '
                "it out, and give it by the environment or Spark's settings"
            )
    _apply_preset(config.framework)
    _check(config)
    return config


def restore_config(values: Mapping, root: str) -> Config:
    """The config that was stored as `values` (by asdict), for tables and models that lie in `root` now.

    Raises:
        UserError: it has keys that this code does not know.
    """
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), {**values, "root": root}))
    except OmegaConfBaseException as error:
        raise UserError(f"settings that were stored cannot be read: {str(error).splitlines()[0]}") from None


def read_settings(config_class: type[T], path: str, settings: Sequence[str] = ()) -> T:
    """An instance of the dataclass `config_class` from the YAML file at `path` and dotted `settings`.

    Raises:
        UserError: the file is missing or no YAML mapping; a key does not exist (the message names the nearest
            one) or is missing; a value has the wrong type.
    """
    try:
        with open(path) as file:
            values = yaml.load(file, _Strings) or {}
    except OSError as error:
        raise UserError(f"config {path} cannot be read ({error.strerror}): give --config an existing file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"config {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"config {path} must hold keys and values, as those in conf/ do")
    pairs = [_parse_setting(setting) for setting in settings]
    given = [(key, path) for key in flatten(values)] + [(key, "command line") for key, _ in pairs]
    known = _dotted_keys(config_class, [key for key, _ in given])
    for key, where in given:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0)[0]
            raise UserError(f'config key "{key}" ({where}) does not exist: did you mean "{nearest}"?')
    try:
        merged = OmegaConf.merge(OmegaConf.structured(config_class), OmegaConf.create(values))
        for key, value in pairs:
            OmegaConf.update(merged, key, value)
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            raise UserError(f'config key "{missing[0]}" has no value: set it in {path} or as {missing[0]}=VALUE')
        return OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f'config key "{error.full_key}" has a value of the wrong kind: {reason}') from None


class _Strings(yaml.SafeLoader):
    """Leaves scalars but null as they are written; OmegaConf gives them the type of their field.

    YAML itself would read the domain keys 007 and on as 7 and true.
    """

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:null"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _parse_setting(setting: str) -> tuple[str, Any]:
    key, separator, value = setting.partition("=")
    if not separator:
        raise UserError(f'argument "{setting}" is not of the form key=value')
    try:
        return key, yaml.load(value, _Strings)
    except yaml.YAMLError:
        return key, value


def _dotted_keys(config_class: type, given: Sequence[str], prefix: str = "") -> list[str]:
    """The keys that there are; under a dictionary, the names that `given` keys have there."""
    keys = []
    for entry in fields(config_class):
        key = prefix + entry.name
        keys.append(key)
        if is_dataclass(entry.type):
            keys.extend(_dotted_keys(entry.type, given, f"{key}."))
        elif get_origin(entry.type) is dict:
            depth = key.count(".") + 1
            names = {one.split(".")[depth] for one in given if one.startswith(f"{key}.")}
            value = get_args(entry.type)[1]
            for name in sorted(names):
                keys.append(f"{key}.{name}")
                keys.extend(_dotted_keys(value, given, f"{key}.{name}.") if is_dataclass(value) else [])
    return keys


def flatten(values: Mapping, prefix: str = "") -> dict[str, Any]:
    """Values of nested mappings by their dotted keys: {"a": {"b": 1}} becomes {"a.b": 1}."""
    flat = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _apply_preset(framework: FrameworkConfig) -> None:
    """Lets name, shared and specific agree, and gives the framework its rates.

    Explicit parts win over the preset, and the pair gives the name.
    """
    shared, specific = framework_pair(framework.name or "mamdr")
    framework.shared, framework.specific = framework.shared or shared, framework.specific or specific
    if not is_shared(framework.shared):
        raise UserError(
            f'framework.shared "{framework.shared}" does not exist: choose one of {", ".join(SHARED)}, '
            "or the import path of a function of your own, as my_package.my_file:learn"
        )
    if framework.specific not in SPECIFIC:
        raise UserError(
            f'framework.specific "{framework.specific}" does not exist: choose one of {", ".join(SPECIFIC)}'
        )
    framework.name = framework_name(framework.shared, framework.specific)
    if framework.inner_lr is None:
        framework.inner_lr = rates.inner_rate(framework.shared)
    if framework.outer_lr is None:
        framework.outer_lr = rates.outer_rate(framework.shared)


def _check(config: Config) -> None:
    data, framework, training = config.data, config.framework, config.training

    def require(holds: bool, key: str, rule: str) -> None:
        if not holds:
            raise UserError(f'config key "{key}" must be {rule}')

    lengths = {LENGTH.format(name) for name, feature in data.features.items() if feature.kind in ("list", "sequence")}
    for name, feature in data.features.items():
        _check_feature(name, feature, RESERVED | lengths)
    ratios = data.ctr_range
    require(
        len(ratios) == 2 and 0 < ratios[0] <= ratios[1] <= 1,
        "data.ctr_range",
        "two ratios, 0 < low <= high <= 1",
    )
    require(data.ctr_ratio is None or 0 < data.ctr_ratio <= 1, "data.ctr_ratio", "above 0 and at most 1")
    split = data.split
    require(
        len(split) == 3 and min(split) >= 0 and split[0] > 0 and abs(sum(split) - 1) < 1e-6,
        "data.split",
        "three shares (train, val, test) that add up to 1, the first above 0",
    )
    for key, value in {
        "data.bucket_rows": data.bucket_rows,
        "model.embedding_dim": config.model.embedding_dim,
        "model.experts": config.model.experts,
        "model.specific_experts": config.model.specific_experts,
        "model.levels": config.model.levels,
        "model.heads": config.model.heads,
        "als.rank": config.als.rank,
        "als.iterations": config.als.iterations,
        "score.top_k": config.score.top_k,
        "serve.cached_domains": config.serve.cached_domains,
        "training.epochs": training.epochs,
        "training.batch_size": training.batch_size,
        "training.rounds_per_epoch": training.rounds_per_epoch,
        "training.patience": training.patience,
        "training.cache_rows": training.cache_rows,
        "framework.helpers": framework.helpers,
        "framework.helper_rows": framework.helper_rows,
        "framework.dr_rounds": framework.dr_rounds,
        "framework.finetune_rounds": framework.finetune_rounds,
        "framework.subspace_rank": framework.subspace_rank,
        "framework.subspace_domains": framework.subspace_domains,
        "framework.subspace_rows": framework.subspace_rows,
        "framework.subspace_rounds": framework.subspace_rounds,
        "framework.stop_group": framework.stop_group,
    }.items():
        require(value >= 1, key, "at least 1")
    require(
        data.columns.split is None or data.columns.label is not None,
        "data.columns.split",
        "absent where data.columns.label is: negatives that are drawn have no split of their own",
    )
    for key, times in {"split_at": data.split_at or [], "since": [data.since], "until": [data.until]}.items():
        for time in times:
            require(time is None or seconds_of(time) is not None, f"data.{key}", "a number or a timestamp")
    require(
        data.split_at is None or (len(data.split_at) == 2 and data.columns.split is None),
        "data.split_at",
        "two times, of val and of test, and absent where data.columns.split is given",
    )
    require(0 < data.scale <= 1, "data.scale", "above 0 and at most 1")
    require(0 <= data.synthetic.conflict <= 1, "data.synthetic.conflict", "at least 0 and at most 1")
    require(0 <= data.synthetic.noise <= 0.5, "data.synthetic.noise", "at least 0 and at most 0.5")
    for key in ("domains", "users", "items"):
        count = getattr(data.synthetic, key)
        rule = f"at least 1 and at most data.synthetic.samples, {data.synthetic.samples}"
        require(1 <= count <= data.synthetic.samples, f"data.synthetic.{key}", rule)
    require(data.synthetic.samples < 2**31, "data.synthetic.samples", "below 2^31")
    require(data.largest_domains is None or data.largest_domains >= 1, "data.largest_domains", "at least 1")
    require(data.user_share is None or 0 < data.user_share <= 1, "data.user_share", "above 0 and at most 1")
    require(data.head_rows is None or data.head_rows >= 0, "data.head_rows", "at least 0")
    require(0 <= config.seed < 2**63, "seed", "an integer from 0 to 9223372036854775807")
    for key in ("hidden", "tower"):
        require(min(getattr(config.model, key), default=1) >= 1, f"model.{key}", "a list of sizes, each at least 1")
    batch_size = framework.dr_batch_size
    require(batch_size is None or batch_size >= 1, "framework.dr_batch_size", "at least 1")
    rate = framework.finetune_lr
    require(rate is None or rate > 0, "framework.finetune_lr", "above 0")
    require(framework.specific_dtype in ("float32", "float16"), "framework.specific_dtype", "float32 or float16")
    share = framework.refresh_share
    require(share is None or share > 0, "framework.refresh_share", "above 0")
    require(framework.helper_domains >= 2, "framework.helper_domains", "at least 2")
    require(config.model.pooling in ("mean", "attention"), "model.pooling", "mean or attention")
    require(0 < framework.meta_share < 1, "framework.meta_share", "between 0 and 1")
    require(framework.pcgrad_domains >= 2, "framework.pcgrad_domains", "at least 2")
    require(config.model.embedding_scale > 0, "model.embedding_scale", "above 0")
    require(0 <= config.model.dropout < 1, "model.dropout", "at least 0 and below 1")
    for key in ("regularization", "confidence"):
        require(getattr(config.als, key) > 0, f"als.{key}", "above 0")
    for key in ("inner_lr", "outer_lr", "dr_inner_lr", "meta_lr", "dr_lr"):
        require(getattr(framework, key) > 0, f"framework.{key}", "above 0")
    for key, value in vars(config.checks).items():
        require(0 <= value <= 1, f"checks.{key}", "at least 0 and at most 1")
    require(config.promote.margin >= 0, "promote.margin", "at least 0")
    require(training.device in ("auto", "cpu", "cuda"), "training.device", "auto, cpu or cuda")
    require(
        not framework.interleave or framework.name == "mamdr",
        "framework.interleave",
        "false unless framework.name is mamdr",
    )
    require(not framework.interleave or not training.sharded, "framework.interleave", "false with training.sharded")
    require(
        "domain_id" not in training.sharded,
        "training.sharded",
        "without domain_id: a table with a row for each domain holds weights, and is whole on every rank",
    )


KINDS = ("category", "dense", "list", "sequence")
OWNERS = ("row", "user", "item")


def _check_feature(name: str, feature: FeatureConfig, taken: set[str]) -> None:
    key = f"data.features.{name}"
    if name in taken:
        raise UserError(f'config key "{key}": a column of the tables has the name {name}: give the feature another')
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f'config key "{key}": a feature is named by small letters, digits and _, and not {name}')
    for part, known in (("kind", KINDS), ("of", OWNERS)):
        if getattr(feature, part) not in known:
            raise UserError(f'config key "{key}.{part}" must be one of {", ".join(known)}')
    if feature.length < 1:
        raise UserError(f'config key "{key}.length" must be at least 1')
    if not feature.separator:
        raise UserError(f'config key "{key}.separator" must have at least one character')
