"""theta^i inside Spark tasks: whole buckets of rows in, rows about their domains out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from torch import nn

from training.artifacts.model_names import fetch_model, model_path, shared_version, specific_version
from training.artifacts.model_store import load_theta, read_manifest, state_of
from training.column_names import ROW_ORDER
from training.config import Config
from training.data.columns import Columns, to_array
from training.data.schema import Schema
from training.distributed.device import use_cpu
from training.frameworks.specific.adapter import AdaptedDomain, Adapter, Keep, adaptation_settings
from training.parameters.shared import SharedParameters

ROWS_PER_MESSAGE = 32  # a row of domain_parameters has the size of a network


@dataclass(frozen=True)
class ModelKey:
    """What a task needs to open a model by itself."""

    config: Config
    table_version: int
    state: str  # of theta^S, see training/artifacts/model_names.py
    schema: Schema

    @classmethod
    def find(cls, config: Config, table_version: int) -> "ModelKey":
        """The trained model of these settings. Raises UserError if there is none."""
        manifest = read_manifest(fetch_model(config, shared_version(config, table_version)))
        key = cls(config, table_version, state_of(manifest), Schema.from_json(manifest["schema"]))
        fetch_model(config, key.specific)
        return key

    @property
    def shared(self) -> str:
        return shared_version(self.config, self.table_version)

    @property
    def specific(self) -> str:
        return specific_version(self.config, self.shared, self.state)


def find_specific(config: Config, shared: str) -> str:
    """The name of model `shared`, as it is now, with its theta^i."""
    return specific_version(config, shared, state_of(read_manifest(fetch_model(config, shared))))


def map_domains(
    rows: DataFrame,
    rounds: dict[int, int],
    buckets: Sequence[int],
    key: ModelKey,
    keep: Keep,
    to_row: Callable[[AdaptedDomain, int, SharedParameters], dict],
    schema: pa.Schema,
) -> DataFrame:
    """Adapts the domains in `rounds`, a bucket after the other, many buckets side by side.

    Args:
        rows: samples; only those of `buckets` are read.
        rounds: how many rounds, by domain.
        keep: the rounds after which theta^i is returned.
        to_row: makes an output row of (adapted domain, its bucket, theta^S).
        schema: of the output rows.
    """

    names = key.schema.columns

    def adapt(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        batches = list(batches)
        if not batches:
            return
        use_cpu(threads=1)
        adapter = open_adapter(key)
        table = pa.Table.from_batches(batches)
        for bucket in sorted(pc.unique(table["bucket"]).to_pylist()):
            of_bucket = table.filter(pc.equal(table["bucket"], bucket))
            train, val = (
                to_columns(of_bucket.filter(pc.equal(of_bucket["split"], split)), names) for split in ("train", "val")
            )
            adapted = adapter.adapt(train, val, rounds, keep)
            made = (to_row(one, bucket, adapter.theta) for one in adapted)
            while message := list(islice(made, ROWS_PER_MESSAGE)):
                yield from pa.Table.from_pylist(message, schema=schema).to_batches()

    chosen = rows.where(F.col("bucket").isin(list(buckets)) & F.col("split").isin("train", "val"))
    parallelism = rows.sparkSession.sparkContext.defaultParallelism
    return (
        chosen.select(*names, "bucket", "split")
        .repartition(min(len(buckets), 4 * parallelism), "bucket")
        .mapInArrow(adapt, from_arrow_schema(schema))
    )


_open: dict[tuple[Path, str], tuple[nn.Module, SharedParameters]] = {}


def open_theta(key: ModelKey) -> tuple[nn.Module, SharedParameters]:
    """The module and theta^S of a model, opened once in a Python process; a run that went on is another model."""
    name = (model_path(key.config, key.shared), key.state)
    if name not in _open:
        _open.clear()
        _open[name] = load_theta(fetch_model(key.config, key.shared), key.config)
    return _open[name]


def open_adapter(key: ModelKey) -> Adapter:
    folder = fetch_model(key.config, key.specific)
    return Adapter.load(folder, *open_theta(key), adaptation_settings(key.config))


def to_columns(table: pa.Table, names: Sequence[str]) -> Columns:
    """Some columns, sorted as the trainer's feed sorts them; those of lists of one length have shape (rows, length)."""
    table = table.select(names).sort_by([(name, "ascending") for name in ROW_ORDER])
    return {name: to_array(table[name].combine_chunks()) for name in names}
