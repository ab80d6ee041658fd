"""Checks the counts of the data sets in conf/ against published ones, where their files exist."""

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from pipelines.build_domains import build_domains
from pipelines.engine import tables
from pipelines.samples.cleaning import deduplicate, parse
from pipelines.sources import read_log
from training.config import load_config

REPOSITORY = Path(__file__).parents[3]
DATA = REPOSITORY.parent / "shared" / "data"  # where data may lie that is not in the repository
FILES = {
    "official_amazon5": DATA / "official-splits" / "amazon5.parquet",
    "official_ciao": DATA / "official-splits" / "ciao.parquet",
    "ciao": DATA / "ciao" / "ciao.csv.gz",
}


@pytest.fixture
def recipe(tmp_path):
    """Returns a function that loads conf/NAME.yaml with a new root, and skips the test where its data is missing."""

    def load(name):
        config_path = REPOSITORY / "conf" / f"{name}.yaml"
        config = load_config(str(config_path), [f"root={tmp_path}"])
        candidates = [REPOSITORY / config.data.path, *([FILES[name]] if name in FILES else [])]
        for path in candidates:
            if path.is_file() or (path.is_dir() and any(path.iterdir())):
                return load_config(str(config_path), [f"root={tmp_path}", f"data.path={path.resolve()}"])
        pytest.skip(f"{config.data.path} does not exist: conf/{name}.yaml says how to get the data")

    return load


def test_official_split_of_amazon_is_reproduced_row_for_row(spark, recipe):
    config = recipe("official_amazon5")
    summary = build_domains(spark, config)
    assert (summary["rows_kept"], summary["samples"], summary["domains"]) == (52_065, 52_065, 5)
    keys = {name: tables.read(spark, config.table(name)).withColumnRenamed("key", name) for name in ("users", "items")}
    rows = tables.read(spark, config.table("samples"))
    rows = rows.join(keys["users"].withColumnRenamed("id", "user_id"), "user_id")
    rows = rows.join(keys["items"].withColumnRenamed("id", "item_id"), "item_id")
    rows = rows.join(tables.read(spark, config.table("domains")).select("domain_id", "domain_key"), "domain_id")
    samples = Counter(map(tuple, rows.select("domain_key", "users", "items", "label", "split").collect()))
    columns = pq.read_table(config.data.path, columns=["domain_name", "user", "item", "label", "split"]).to_pydict()
    rows = zip(*columns.values(), strict=True)
    assert samples == Counter((domain, str(user), str(item), label, split) for domain, user, item, label, split in rows)


@pytest.mark.parametrize(
    ("name", "rows", "domains", "columns"),
    [
        ("official_ciao", 1_311_916, 28, {"label", "split", "event"}),
        ("ciao", 284_086, 28, {"time"}),
        ("ml_1m_genre", 1_000_209, 301, {"label", "time"}),
        ("ml_1m_age", 1_000_209, 7, {"label", "time"}),
        ("ml_1m_gender", 1_000_209, 2, {"label", "time"}),
        ("ml_1m_occupation", 1_000_209, 21, {"label", "time"}),
    ],
)
def test_log_has_the_published_numbers_of_rows_and_domains(spark, recipe, name, rows, domains, columns):
    config = recipe(name)
    log, positive_at = read_log(spark, config.data)
    assert set(log.columns) == {"user", "item", "domain", "_malformed"} | columns
    good = parse(log, positive_at, config.data.features).where("reason IS NULL")
    assert good.agg(F.count("*"), F.countDistinct("domain")).first() == (rows, domains)


def test_movielens_age_groups_have_the_published_sizes(spark, recipe):
    config = recipe("ml_1m_scenario_wise")
    log, positive_at = read_log(spark, config.data)
    clean = deduplicate(parse(log, positive_at, config.data.features))
    sizes = clean.groupBy("domain").agg(F.count("*"), F.countDistinct("user"), F.countDistinct("item"))
    assert {tuple(row) for row in sizes.collect()} == {
        ("under 25", 210_747, 1_325, 3_429),
        ("25 to 34", 395_556, 2_096, 3_508),
        ("35 and over", 393_906, 2_619, 3_595),
    }
