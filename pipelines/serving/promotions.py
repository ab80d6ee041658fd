"""The table promotions: which model is served, in all domains or in one."""

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
    """A model that answers for some domains, and the versions of the tables that it belongs to.

    Attributes:
        domain: the key of the only domain that it answers for; None: all that no other model has.
        versions: by table.
    """

    key: ModelKey
    domain: str | None
    versions: dict[str, int]

    @property
    def version(self) -> str:
        """What names theta^S in its state, and theta^i where there is one."""
        key = self.key
        return f"{key.shared_version}.{key.state}" if key.config.framework.specific == "none" else key.model_version

    def read(self, spark: SparkSession, name: str) -> DataFrame:
        """The table `name` as it was when the model was made."""
        return tables.read(spark, self.key.config.table(name), self.versions[name])

    def specific(self, spark: SparkSession) -> DataFrame:
        """The rows of domain_parameters of the model."""
        path = self.key.config.table("domain_parameters")
        return tables.read(spark, path).where(F.col("model_version") == self.version)

    @classmethod
    def of(cls, spark: SparkSession, key: ModelKey, domain: str | None = None) -> "Served":
        """`key`, with the tables that it was trained on. Raises UserError if they are not there any more."""
        return cls(key, domain, published_builds.versions_with(spark, key.config, key.table_version))


def find_served(spark: SparkSession, config: Config) -> list[Served]:
    """What scoring reads: the promoted models, first the one for all domains; without any, that of `config`.

    Raises:
        UserError: there is no model, or the tables that it belongs to are not there.
    """
    promoted = current(read(spark, config)) if config.score.promoted else []
    if not promoted:
        return [find_newest(spark, config)]
    return [restore(spark, row, row["domain_key"], config) for row in promoted]


def of_domain(decisions: Iterable[Row], domain: str | None) -> Row | None:
    """The decision that holds in `domain`, or, where that is None, for all domains; None: none does."""
    by_domain = {row["domain_key"]: row for row in current(decisions)}
    return by_domain.get(domain, by_domain.get(None))


def find_newest(spark: SparkSession, config: Config, domain: str | None = None) -> Served:
    """The model of `config` of the newest version of the tables.

    Raises:
        UserError: there is none, or it needs what a request has not.
    """
    for name in owned_by(config.data.features, "row"):
        raise UserError(f'feature "{name}" is the value of a row of the log, and a request has none: leave it out')
    version = take_snapshot(config).version
    stored = newest_trained_version(config, version)
    if stored is not None and stored != version:
        raise UserError(
            f"samples are at version {version}, and the newest model of framework {config.framework.name} with these "
            f"settings is of version {stored}: run training/train.py or pipelines/add_domain.py, or promote a model"
        )
    return Served.of(spark, ModelKey.find(config, version), domain)


def read(spark: SparkSession, config: Config) -> list[Row]:
    """All decisions, the oldest first."""
    path = config.table("promotions")
    return tables.read(spark, path).orderBy("decided_at").collect() if tables.exists(spark, path) else []


def current(decisions: Iterable[Row]) -> list[Row]:
    """The decisions that hold, first that for all domains; `decisions` are in the order of time.

    | domain_key | promoted | model |      | domain_key | model |
    | null       | true     | a     |  ->  | null       | b     |
    | x          | true     | a     |      | y          | a     |
    | null       | true     | b     |
    | null       | false    | c     |
    | y          | true     | a     |
    """
    holds: dict[str | None, Row] = {}
    for row in decisions:
        if row["promoted"]:
            if row["domain_key"] is None:
                holds.clear()
            holds[row["domain_key"]] = row
    return list(holds.values())


def append(
    spark: SparkSession, served: Served, promoted: bool, auc: float | None, auc_served: float | None, config: Config
) -> None:
    """Adds a decision on `served`."""
    own = served.key.config
    columns = {
        "domain_key": ("STRING", served.domain),
        "promoted": ("BOOLEAN", promoted),
        "model": ("STRING", own.framework.name),
        "model_version": ("STRING", served.version),
        "table_version": ("BIGINT", served.key.table_version),
        "settings": ("STRING", json.dumps(asdict(own))),
        "mean_domain_auc": ("DOUBLE", auc),
        "mean_domain_auc_served": ("DOUBLE", auc_served),
    }
    schema = ", ".join(f"{name} {kind}" for name, (kind, _) in columns.items())
    row = spark.createDataFrame([tuple(value for _, value in columns.values())], schema)
    tables.append(row.withColumn("decided_at", F.current_timestamp()), "promotions", config.table("promotions"))


def restore(spark: SparkSession, row: Row, domain: str | None, config: Config) -> Served:
    """The model of a decision, for `domain`. Raises UserError if the model, or its tables, are not there any more."""
    own = restore_config(json.loads(row["settings"]), config.root)
    key = ModelKey.find(own, row["table_version"])
    served = Served.of(spark, key, domain)
    if served.version != row["model_version"]:
        raise UserError(
            f"model {row['model_version']} was promoted, and what its settings name now is {served.version}: "
            "it was trained on, or this code names models otherwise: promote it again"
        )
    return served


def find_decision(decisions: list[Row], model_version: str) -> Row:
    """The newest decision that promoted a model. Raises UserError if there is none."""
    found = [row for row in decisions if row["promoted"] and row["model_version"] == model_version]
    if not found:
        known = dict.fromkeys(row["model_version"] for row in decisions if row["promoted"])
        raise UserError(f"model {model_version} was not promoted: promote.back_to is one of {', '.join(known) or '-'}")
    return found[-1]
