"""Adapts domains inside Spark tasks, a bucket at a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from pipelines.tasks.arrow_columns import sorted_columns
from pipelines.tasks.model_key import ModelKey, open_theta
from training.artifacts.model_folder import fetch_model
from training.config.framework_settings import adaptation_settings
from training.distributed.device import use_cpu
from training.frameworks.specific.adapter import AdaptedDomain, Adapter, Keep
from training.parameters.shared import SharedParameters

ROWS_PER_MESSAGE = 32  # a row of domain_parameters is as large as a network


def map_domains(
    rows: DataFrame,
    rounds: dict[int, int],
    buckets: Sequence[int],
    key: ModelKey,
    keep: Keep,
    to_row: Callable[[AdaptedDomain, int, SharedParameters], dict],
    schema: pa.Schema,
) -> DataFrame:
    """Adapts the domains in `rounds` and returns one row a domain. Tasks work on different buckets in parallel.

    Args:
        rows: the samples; only those of `buckets` are read.
        rounds: the number of rounds, by domain.
        keep: the rounds whose offsets are returned.
        to_row: makes an output row from an adapted domain, its bucket and theta^S.
        schema: the columns of the output rows.
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
                sorted_columns(of_bucket.filter(pc.equal(of_bucket["split"], split)), names)
                for split in ("train", "val")
            )
            adapted_domains = adapter.adapt(train, val, rounds, keep)
            output = (to_row(adapted, bucket, adapter.theta) for adapted in adapted_domains)
            while message := list(islice(output, ROWS_PER_MESSAGE)):
                yield from pa.Table.from_pylist(message, schema=schema).to_batches()

    chosen = rows.where(F.col("bucket").isin(list(buckets)) & F.col("split").isin("train", "val"))
    parallelism = rows.sparkSession.sparkContext.defaultParallelism
    return (
        chosen.select(*names, "bucket", "split")
        .repartition(min(len(buckets), 4 * parallelism), "bucket")
        .mapInArrow(adapt, from_arrow_schema(schema))
    )


def open_adapter(key: ModelKey) -> Adapter:
    """Opens what the model's folder holds for adaptation: theta^S, and the rows of helper domains."""
    folder = fetch_model(key.config, key.model_version)
    return Adapter.load(folder, *open_theta(key), adaptation_settings(key.config))
