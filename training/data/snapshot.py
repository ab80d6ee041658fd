"""Pins the input of a run: versions of the tables, the files of the samples with their row counts, and the domains.

`training/data/published_builds.py` says which versions a run may read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from urllib.parse import unquote

import numpy as np
from deltalake import DeltaTable

from training.config import Config
from training.data.delta_files import (
    add_actions,
    count_rows,
    open_table,
    path_of,
    read_columns,
    refuse_deletion_vectors,
    refuse_missing_files,
)
from training.data.published_builds import published_versions
from training.data.schema import Feature, Schema
from training.errors import UserError


@dataclass(frozen=True)
class DataFile:
    """Describes a Parquet file of the samples table."""

    path: str  # absolute, or a URL
    split: str
    bucket: int
    rows: int


@dataclass(frozen=True)
class Domains:
    """Holds the domains table as columns of shape (domains,), sorted by id."""

    domain_id: np.ndarray
    head: np.ndarray  # bool
    first_bucket: np.ndarray
    buckets: np.ndarray
    rows_train: np.ndarray
    positives_train: np.ndarray

    def __len__(self) -> int:
        return len(self.domain_id)

    def where(self, mask: np.ndarray) -> "Domains":
        """Returns the domains that a boolean mask selects."""
        return Domains(**{name: column[mask] for name, column in vars(self).items()})

    def trainable(self, min_rows: int) -> "Domains":
        """Returns the domains with at least `min_rows` training rows, of both classes."""
        both_classes = (self.positives_train > 0) & (self.positives_train < self.rows_train)
        return self.where(both_classes & (self.rows_train >= min_rows))


@dataclass(frozen=True)
class Snapshot:
    """Holds the pinned input of a run.

    Attributes:
        versions: the version of each table, by name.
        files: all files of the samples.
    """

    versions: dict[str, int]
    files: tuple[DataFile, ...]
    schema: Schema
    domains: Domains

    @property
    def version(self) -> int:
        """Returns the version of the samples table."""
        return self.versions["samples"]

    def rows_by_bucket(self, split: str) -> dict[int, int]:
        """Returns the number of rows of each bucket in `split`."""
        rows: dict[int, int] = {}
        for file in self.files:
            if file.split == split:
                rows[file.bucket] = rows.get(file.bucket, 0) + file.rows
        return rows

    def files_of(self, split: str, buckets: list[int]) -> list[DataFile]:
        """Returns the files of some buckets in `split`, in a fixed order."""
        chosen = set(buckets)
        files = [file for file in self.files if file.split == split and file.bucket in chosen]
        return sorted(files, key=lambda file: (file.bucket, file.path))


def take_snapshot(config: Config) -> Snapshot:
    """Pins the published versions of the tables and lists the files of the samples.

    Raises:
        UserError: a table does not exist, or the samples are empty, lack a file, enable deletion vectors, or hold ids
            outside their vocabulary; or what `published_versions` raises.
    """
    versions = published_versions(config)
    samples = open_table(config.table("samples"), versions["samples"])
    refuse_deletion_vectors(samples, config.table("samples"), also_unused=True)
    actions = add_actions(samples)
    files = tuple(_list_files(samples, actions))
    if not files:
        raise UserError(f"table {config.table('samples')} is empty: rebuild it from a log with valid rows")
    refuse_missing_files(samples, [file.path for file in files])
    names = [field.name for field in fields(Domains)]
    domains = read_columns(config.table("domains"), names, version=versions["domains"])
    order = np.argsort(domains["domain_id"])
    schema = read_schema(config, versions, domains=len(order))
    _refuse_unknown_ids(actions, f"{config.table('samples')} (version {samples.version()})", schema)
    return Snapshot(
        versions=versions,
        files=files,
        schema=schema,
        domains=Domains(**{name: column[order] for name, column in domains.items()}),
    )


def read_schema(config: Config, versions: Mapping[str, int], domains: int) -> Schema:
    """Returns the schema of the samples: the ids, and the configured features as the table `features` describes them.

    Args:
        versions: the version of each table.
        domains: the number of domains.

    Raises:
        UserError: a configured feature was not built, or was built with another kind.
    """
    sizes = {f"{owner}_id": count_rows(config.table(f"{owner}s"), versions[f"{owner}s"]) for owner in ("user", "item")}
    configured = config.data.features
    if not configured:
        return Schema.of({**sizes, "domain_id": domains})
    path = config.table("features")
    columns = read_columns(path, ["name", "kind", "vocabulary", "size", "length"], version=versions["features"])
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    built = {feature.name: feature for feature in (Feature(*row) for row in rows)}
    further = []
    for name, settings in configured.items():
        feature = built.get(name)
        if feature is None or feature.kind != settings.kind:
            fault = (
                f"is built as {feature.kind}" if feature else f"was not built (there are {', '.join(built) or 'none'})"
            )
            raise UserError(
                f'feature "{name}" ({settings.kind}) {fault} in {path}: run pipelines/build_domains.py again'
            )
        further.append(feature)
    return Schema.of({**sizes, "domain_id": domains}, further)


def _refuse_unknown_ids(actions: dict[str, list], table: str, schema: Schema) -> None:
    """Raises UserError if the statistics of a file show an id outside its vocabulary."""
    bounds = [(name, f"{bound}.{name}") for name in schema.vocabularies for bound in ("min", "max")]
    for name, bound in bounds:
        size = schema.sizes[schema.vocabularies[name]]
        for file, value in zip(actions["path"], actions.get(bound, ()), strict=False):
            if value is not None and not 0 <= value < size:
                raise UserError(
                    f"file {file} of table {table} has {name} {value}, but its vocabulary ends at {size - 1}: "
                    "rebuild the tables"
                )


def _list_files(table: DeltaTable, actions: dict[str, list]) -> list[DataFile]:
    root = f"{path_of(table.table_uri).rstrip('/')}/"
    columns = (actions[name] for name in ("path", "partition.split", "partition.bucket", "num_records"))
    return [
        DataFile(root + unquote(path), split, int(bucket), int(rows))
        for path, split, bucket, rows in zip(*columns, strict=True)
    ]
