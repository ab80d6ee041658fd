"""Which versions of the tables a build has published."""

from collections.abc import Iterable, Mapping

import pyarrow.parquet as pq
from deltalake import DeltaTable

from training.config import Config
from training.data.delta_files import column_files, commits_after, open_table
from training.errors import UserError

PUBLISHED_TABLES = ("samples", "domains", "users", "items", "features", "rejects")  # what a build makes and others read


COMMIT_TAG = "written by build_domains"  # the userMetadata of its commits begins so


def published_versions(config: Config) -> dict[str, int]:
    """By table the version to read: the newest that no build has left behind without being published.

    Raises:
        UserError: the first build of these tables was not finished, or a version that was published is gone.
    """
    last, versions = _last_build(config.table("builds")), {}
    for name in PUBLISHED_TABLES if config.data.features else (name for name in PUBLISHED_TABLES if name != "features"):
        table = open_table(config.table(name))
        left = first_build_commit(commits_after(table, last.get(name, -1)))
        if left is not None and name not in last:
            raise UserError(
                f"table {table.table_uri} is of a build that did not finish: run pipelines/build_domains.py"
            )
        versions[name] = table.version() if left is None else left - 1
    return versions


def first_build_commit(commits: Iterable[Mapping]) -> int | None:
    """The version of the first of some commits that a build wrote; None where none of them is of a build."""
    of_builds = (one["version"] for one in commits if (one.get("userMetadata") or "").startswith(COMMIT_TAG))
    return min(of_builds, default=None)


def _last_build(path: str) -> dict[str, int]:
    """By table the versions that the newest row of the table builds has; none where there is no row."""
    columns = ["built_at", "versions"]
    files = column_files(path, columns) if DeltaTable.is_deltatable(path) else []
    rows = [row for file in files for row in pq.ParquetFile(file).read(columns).to_pylist()]
    return dict(max(rows, key=lambda row: row["built_at"])["versions"]) if rows else {}
