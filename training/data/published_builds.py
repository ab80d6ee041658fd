"""Finds the versions of the tables that a build has published.

Every commit of a build is tagged, and a row in the table `builds` publishes it. A build that stopped, is still running
or failed its checks leaves tagged commits behind that no row publishes. Readers ignore the first such commit of a table
and all later ones. They do see commits by anybody else, as long as those come before it.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from deltalake import DeltaTable

from training.data.delta_files import column_files, commits_after, open_table
from training.errors import UserError

if TYPE_CHECKING:
    from training.config import Config

PUBLISHED_TABLES = ("samples", "domains", "users", "items", "features", "rejects")
COMMIT_TAG = "written by build_domains"  # the userMetadata of a build's commits starts with it


def published_versions(config: "Config") -> dict[str, int]:
    """Returns the version of each table to read: the newest before any unpublished commit of a build.

    Raises:
        UserError: the first build of a table has not finished, or a published version no longer exists.
    """
    last, versions = _last_build(config.table("builds")), {}
    for name in PUBLISHED_TABLES:
        if name == "features" and not config.data.features:
            continue
        table = open_table(config.table(name))
        unpublished = first_build_commit(commits_after(table, last.get(name, -1)))
        if unpublished is not None and name not in last:
            raise UserError(
                f"table {table.table_uri} comes from a build that did not finish: run pipelines/build_domains.py"
            )
        versions[name] = table.version() if unpublished is None else unpublished - 1
    return versions


def first_build_commit(commits: Iterable[Mapping]) -> int | None:
    """Returns the lowest version among the commits that a build wrote; None if a build wrote none of them."""
    of_builds = (commit["version"] for commit in commits if (commit.get("userMetadata") or "").startswith(COMMIT_TAG))
    return min(of_builds, default=None)


def _last_build(path: str) -> dict[str, int]:
    """Returns the version of each table that the newest row of the table `builds` lists; empty without a row."""
    columns = ["built_at", "versions"]
    files = column_files(path, columns) if DeltaTable.is_deltatable(path) else []
    rows = [row for file in files for row in pq.ParquetFile(file).read(columns).to_pylist()]
    return dict(max(rows, key=lambda row: row["built_at"])["versions"]) if rows else {}
