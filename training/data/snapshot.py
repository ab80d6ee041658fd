"""What a run reads: pinned versions of the tables, the files of the samples and their row counts, and the domains.

The commits of a build carry a mark, and a build is published by its row in the table builds. What it has written until
then, or what it wrote and its checks refused, is passed over, and all that follows it; what somebody else committed to
the published tables before that is not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from training.config import Config
from training.data.schema import Feature, Schema
from training.errors import UserError
from training.files.mirror import fetch, is_remote, missing

READ = ("samples", "domains", "users", "items", "features", "rejects")  # what a build makes and others read
UNREADABLE = {"delta.columnMapping.mode": "column mapping", "delta.enableTypeWidening": "type widening"}
MARK = "written by build_domains"  # the userMetadata of its commits begins so


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

    def able_to_learn(self, min_rows: int) -> "Domains":
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
    _refuse_deletion_vectors(samples, config.table("samples"), also_unused=True)
    actions = _actions(samples)
    files = tuple(_list_files(samples, actions))
    if not files:
        raise UserError(f"table {config.table('samples')} is empty: build it again")
    _refuse_missing_files(samples, [file.path for file in files])
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


def published_versions(config: Config) -> dict[str, int]:
    """By table the version to read: the newest that no build has left behind without being published.

    Raises:
        UserError: the first build of these tables was not finished, or a version that was published is gone.
    """
    last, versions = _last_build(config.table("builds")), {}
    for name in READ if config.data.features else (name for name in READ if name != "features"):
        table = open_table(config.table(name))
        left = left_behind(commits_after(table, last.get(name, -1)))
        if left is not None and name not in last:
            raise UserError(
                f"table {table.table_uri} is of a build that did not finish: run pipelines/build_domains.py"
            )
        versions[name] = table.version() if left is None else left - 1
    return versions


def commits_after(table: DeltaTable, version: int) -> list[dict]:
    """The commits of a table after a version of it, the newest first."""
    number = table.version() - version
    return table.history(number) if number > 0 else []


def left_behind(commits: Iterable[Mapping]) -> int | None:
    """The version of the first of some commits that a build wrote; None where none of them is of a build."""
    of_builds = (one["version"] for one in commits if (one.get("userMetadata") or "").startswith(MARK))
    return min(of_builds, default=None)


def _last_build(path: str) -> dict[str, int]:
    """By table the versions that the newest row of the table builds has; none where there is no row."""
    columns = ["built_at", "versions"]
    files = column_files(path, columns) if DeltaTable.is_deltatable(path) else []
    rows = [row for file in files for row in pq.ParquetFile(file).read(columns).to_pylist()]
    return dict(max(rows, key=lambda row: row["built_at"])["versions"]) if rows else {}


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


def open_table(path: str, version: int | None = None) -> DeltaTable:
    """The Delta table at `path`, by default its newest version.

    Raises:
        UserError: there is none, or its files do not hold the columns as the table names and types them.
    """
    try:
        table = DeltaTable(path, version=version)
    except TableNotFoundError:
        raise UserError(f"table {path} does not exist: run pipelines/build_domains.py with the same config") from None
    except DeltaError:
        if version is None:
            raise
        newest = DeltaTable(path).version()
        raise UserError(f"table {path} (version {newest}) has no version {version} any more") from None
    for setting, feature in UNREADABLE.items():
        if table.metadata().configuration.get(setting, "none") not in ("none", "false"):
            raise UserError(
                f"table {path} (version {table.version()}) has {feature} on ({setting}): its files cannot be read as "
                "they are, write the table anew without"
            )
    return table


def require_version(path: str, version: int) -> None:
    """Raises UserError if that version of the Delta table at `path` cannot be read any more."""
    table = open_table(path, version)
    _refuse_missing_files(table, [_path(uri) for uri in table.file_uris()])


def count_rows(path: str, version: int | None = None) -> int:
    return sum(_actions(open_table(path, version))["num_records"])


def read_columns(
    path: str, columns: list[str], partition: dict[str, str] | None = None, version: int | None = None
) -> dict[str, np.ndarray]:
    """Some columns of a small Delta table, or of one partition. Raises UserError if one is not there."""
    parts = [pq.ParquetFile(file).read(columns=columns) for file in column_files(path, columns, partition, version)]
    return {
        name: np.concatenate([part[name].to_numpy() for part in parts]) if parts else np.array([]) for name in columns
    }


def column_files(
    path: str, columns: list[str], partition: dict[str, str] | None = None, version: int | None = None
) -> list[str]:
    """The files of a Delta table, or of one partition, which have `columns`.

    Raises:
        UserError: a column is not there, or the files hold rows that were deleted; as `open_table`.
    """
    table = open_table(path, version)
    present = [field.name for field in table.schema().fields]
    for column in columns:
        if column not in present:
            raise UserError(f'table {path} has no column "{column}": it has {", ".join(present)}')
    _refuse_deletion_vectors(table, path)
    chosen = [(name, "=", value) for name, value in partition.items()] if partition else None
    return [str(fetch(_path(uri))) for uri in table.file_uris(file_pruning_predicate=chosen)]


def _refuse_deletion_vectors(table: DeltaTable, path: str, also_unused: bool = False) -> None:
    enabled = table.metadata().configuration.get("delta.enableDeletionVectors") == "true"
    if (also_unused and enabled) or len(pa.table(table.deletion_vectors().read_all())):
        raise UserError(
            f"table {path} (version {table.version()}) has deletion vectors on, which the feed cannot "
            "apply: set delta.enableDeletionVectors=false and run REORG TABLE ... APPLY (PURGE), or rebuild it"
        )


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


def _refuse_missing_files(table: DeltaTable, files: Sequence[str]) -> None:
    lost = missing(files)
    if lost:
        raise UserError(
            f"version {table.version()} of table {table.table_uri} lacks {len(lost)} of {len(files)} files, as "
            f"{lost[0]}: restore them, or build the table again"
        )


def _list_files(table: DeltaTable, actions: dict[str, list]) -> list[DataFile]:
    root = f"{_path(table.table_uri).rstrip('/')}/"
    columns = (actions[name] for name in ("path", "partition.split", "partition.bucket", "num_records"))
    return [
        DataFile(root + unquote(path), split, int(bucket), int(rows))
        for path, split, bucket, rows in zip(*columns, strict=True)
    ]


def _actions(table: DeltaTable) -> dict[str, list]:
    return pa.table(table.get_add_actions(flatten=True)).to_pydict()


def _path(uri: str) -> str:
    """A file that deltalake names: it encodes the names of local ones, even without a scheme."""
    return uri if is_remote(uri) else unquote(uri.removeprefix("file://"))
