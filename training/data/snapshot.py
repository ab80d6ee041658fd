"""What a run reads: pinned versions of the tables, the files of the samples and their row counts, and the domains.

The commits of a build carry a mark, and a build is published by its row in the table builds. What it has written until
then, or what it wrote and its checks refused, is passed over, and all that follows it; what somebody else committed to
the published tables before that is not.
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
    path: str  # absolute, or a URL
    split: str
    bucket: int
    rows: int


@dataclass(frozen=True)
class Domains:
    """The domains table, one entry a domain, sorted by id."""

    domain_id: np.ndarray
    head: np.ndarray  # bool
    first_bucket: np.ndarray
    buckets: np.ndarray
    rows_train: np.ndarray
    positives_train: np.ndarray

    def __len__(self) -> int:
        return len(self.domain_id)

    def where(self, chosen: np.ndarray) -> "Domains":
        """Some of the domains, by a mask."""
        return Domains(**{name: column[chosen] for name, column in vars(self).items()})

    def trainable(self, min_rows: int) -> "Domains":
        """Those with at least `min_rows` training rows, among these both classes."""
        both = (self.positives_train > 0) & (self.positives_train < self.rows_train)
        return self.where(both & (self.rows_train >= min_rows))


@dataclass(frozen=True)
class Snapshot:
    versions: dict[str, int]  # by table
    files: tuple[DataFile, ...]
    schema: Schema
    domains: Domains

    @property
    def version(self) -> int:
        """That of the samples."""
        return self.versions["samples"]

    def rows_by_bucket(self, split: str) -> dict[int, int]:
        """The listed rows of each bucket of `split`."""
        rows: dict[int, int] = {}
        for file in self.files:
            if file.split == split:
                rows[file.bucket] = rows.get(file.bucket, 0) + file.rows
        return rows

    def of(self, split: str, buckets: list[int]) -> list[DataFile]:
        """The files of some buckets of `split`, in a fixed order."""
        chosen = set(buckets)
        files = [file for file in self.files if file.split == split and file.bucket in chosen]
        return sorted(files, key=lambda file: (file.bucket, file.path))


def take_snapshot(config: Config) -> Snapshot:
    """Resolves the versions of the tables and lists the files of the samples.

    Raises:
        UserError: a table is missing or empty, or the samples have deletion vectors, which the feed cannot apply, or
            lack a file; as `published_versions`.
    """
    versions = published_versions(config)
    samples = open_table(config.table("samples"), versions["samples"])
    refuse_deletion_vectors(samples, config.table("samples"), also_unused=True)
    actions = add_actions(samples)
    files = tuple(_list_files(samples, actions))
    if not files:
        raise UserError(f"table {config.table('samples')} is empty: build it again")
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
    """What the samples consist of: the ids, and the features that the config names, as the table features has them.

    Raises:
        UserError: a feature was not built, or as something else.
    """
    sizes = {f"{owner}_id": count_rows(config.table(f"{owner}s"), versions[f"{owner}s"]) for owner in ("user", "item")}
    wanted = config.data.features
    if not wanted:
        return Schema.of({**sizes, "domain_id": domains})
    path = config.table("features")
    columns = read_columns(path, ["name", "kind", "vocabulary", "size", "length"], version=versions["features"])
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    built = {feature.name: feature for feature in (Feature(*row) for row in rows)}
    further = []
    for name, feature in wanted.items():
        found = built.get(name)
        if found is None or found.kind != feature.kind:
            kind = f"is built as {found.kind}" if found else f"was not built (there are {', '.join(built) or 'none'})"
            raise UserError(f'feature "{name}" ({feature.kind}) {kind} in {path}: run pipelines/build_domains.py again')
        further.append(found)
    return Schema.of({**sizes, "domain_id": domains}, further)


def _refuse_unknown_ids(actions: dict[str, list], table: str, schema: Schema) -> None:
    """Raises UserError if a file of `table` has an id, by its statistics, that its vocabulary has not."""
    bounds = [(name, f"{bound}.{name}") for name in schema.vocabularies for bound in ("min", "max")]
    for name, bound in bounds:
        size = schema.sizes[schema.vocabularies[name]]
        for file, value in zip(actions["path"], actions.get(bound, ()), strict=False):
            if value is not None and not 0 <= value < size:
                raise UserError(
                    f"file {file} of table {table} has {name} {value}, and its vocabulary ends at {size - 1}: "
                    "build the tables anew"
                )


def _list_files(table: DeltaTable, actions: dict[str, list]) -> list[DataFile]:
    root = f"{path_of(table.table_uri).rstrip('/')}/"
    columns = (actions[name] for name in ("path", "partition.split", "partition.bucket", "num_records"))
    return [
        DataFile(root + unquote(path), split, int(bucket), int(rows))
        for path, split, bucket, rows in zip(*columns, strict=True)
    ]
