"""Reads and appends the table promotions: which model is served, in all domains or in one."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.samples import published_builds
from pipelines.samples.features import owned_by
from pipelines.tasks.model_key import ModelKey
from training.artifacts.warm_start import newest_trained_version
from training.config import Config, restore_config
from training.data.snapshot import take_snapshot
from training.errors import UserError


@dataclass(frozen=True)
class Served:
    """Represents a model that answers for some domains, with the versions of the tables that it belongs to.

    Attributes:
        domain: the key of the only domain that it answers for. None: all domains without a model of their own.
        versions: the version of each table, by name.
    """

    key: ModelKey
    domain: str | None
    versions: dict[str, int]

    @property
    def version(self) -> str:
        """Returns the name of theta^S in its state, with its domain offsets if the framework learns any."""
        key = self.key
        return f"{key.shared_version}.{key.state}" if key.config.framework.specific == "none" else key.model_version

    def read(self, spark: SparkSession, name: str) -> DataFrame:
        """Reads the table `name` in the version that the model belongs to."""
        return tables.read(spark, self.key.config.table(name), self.versions[name])

    def parameters(self, spark: SparkSession) -> DataFrame:
        """Reads the rows of domain_parameters that belong to the model."""
        path = self.key.config.table("domain_parameters")
        return tables.read(spark, path).where(F.col("model_version") == self.version)

    @classmethod
    def of(cls, spark: SparkSession, key: ModelKey, domain: str | None = None) -> "Served":
        """Returns the model `key` with the tables that it was trained on. Raises UserError if they no longer exist."""
        return cls(key, domain, published_builds.versions_with(spark, key.config, key.table_version))


def find_served(spark: SparkSession, config: Config) -> list[Served]:
    """Finds the models that scoring uses: the promoted ones, with that for all domains first.

    If none is promoted, or `score.promoted` is false, it is the newest model with the settings of `config`.

    Raises:
        UserError: there is no model, or its tables no longer exist.
    """
    promoted = current(read(spark, config)) if config.score.promoted else []
    if not promoted:
        return [find_newest(spark, config)]
    return [restore(spark, row, row["domain_key"], config) for row in promoted]


def of_domain(decisions: Iterable[Row], domain: str | None) -> Row | None:
    """Returns the promotion in force for `domain` (None: the global one), or None if there is none."""
    by_domain = {row["domain_key"]: row for row in current(decisions)}
    return by_domain.get(domain, by_domain.get(None))


def find_newest(spark: SparkSession, config: Config, domain: str | None = None) -> Served:
    """Finds the model with these settings that was trained on the newest version of the tables.

    Raises:
        UserError: there is no such model, or it reads a feature that a request cannot have.
    """
    for name in owned_by(config.data.features, "row"):
        raise UserError(
            f'feature "{name}" is the value of a row of the log, and a request has none: '
            "train a model without it to rank items"
        )
    version = take_snapshot(config).version
    stored = newest_trained_version(config, version)
    if stored is not None and stored != version:
        raise UserError(
            f"samples are at version {version}, and the newest model of framework {config.framework.name} with these "
            f"settings is of version {stored}: run training/train.py or pipelines/add_domain.py, or promote a model"
        )
    return Served.of(spark, ModelKey.find(config, version), domain)


def read(spark: SparkSession, config: Config) -> list[Row]:
    """Returns all decisions, the oldest first."""
    path = config.table("promotions")
    return tables.read(spark, path).orderBy("decided_at").collect() if tables.exists(spark, path) else []


def current(decisions: Iterable[Row]) -> list[Row]:
    """Returns the promotions in force, with that for all domains first. `decisions` are ordered by time.

    A promotion for all domains ends those of single domains.

    | domain_key | promoted | model |      | domain_key | model |
    | null       | true     | a     |  ->  | null       | b     |
    | x          | true     | a     |      | y          | a     |
    | null       | true     | b     |
    | null       | false    | c     |
    | y          | true     | a     |
    """
    in_force: dict[str | None, Row] = {}
    for row in decisions:
        if row["promoted"]:
            if row["domain_key"] is None:
                in_force.clear()
            in_force[row["domain_key"]] = row
    return list(in_force.values())


def append(
    spark: SparkSession, served: Served, promoted: bool, auc: float | None, auc_served: float | None, config: Config
) -> None:
    """Appends the decision whether `served` is promoted.

    Args:
        auc: the mean-domain AUC of `served`; None if it was not compared.
        auc_served: that of the model served before.
    """
    settings = served.key.config
    columns = {
        "domain_key": ("STRING", served.domain),
        "promoted": ("BOOLEAN", promoted),
        "model": ("STRING", settings.framework.name),
        "model_version": ("STRING", served.version),
        "table_version": ("BIGINT", served.key.table_version),
        "settings": ("STRING", json.dumps(asdict(settings))),
        "mean_domain_auc": ("DOUBLE", auc),
        "mean_domain_auc_served": ("DOUBLE", auc_served),
    }
    schema = ", ".join(f"{name} {kind}" for name, (kind, _) in columns.items())
    row = spark.createDataFrame([tuple(value for _, value in columns.values())], schema)
    tables.append(row.withColumn("decided_at", F.current_timestamp()), "promotions", config.table("promotions"))


def restore(spark: SparkSession, row: Row, domain: str | None, config: Config) -> Served:
    """Returns the model of a decision, to be served in `domain`.

    Raises:
        UserError: the model or its tables no longer exist, or its settings name another model now.
    """
    settings = restore_config(json.loads(row["settings"]), config.root)
    key = ModelKey.find(settings, row["table_version"])
    served = Served.of(spark, key, domain)
    if served.version != row["model_version"]:
        raise UserError(
            f"model {row['model_version']} was promoted, but its settings name {served.version} now: it was trained "
            "further, or this version of the code names models differently; promote it again"
        )
    return served


def find_decision(decisions: list[Row], model_version: str) -> Row:
    """Returns the newest decision that promoted the model. Raises UserError if there is none."""
    promoted = {row["model_version"]: row for row in decisions if row["promoted"]}
    if model_version not in promoted:
        choices = ", ".join(promoted) or "-"
        raise UserError(f"model {model_version} was not promoted: promote.back_to is one of {choices}")
    return promoted[model_version]
