"""Tests that tables are published only after they pass the checks."""

import shutil
from contextlib import contextmanager
from dataclasses import replace

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from pipelines import build_domains
from pipelines.engine import tables
from pipelines.samples.bucket_samples import refuse_doubles
from pipelines.samples.checks import require_planned_rows
from pipelines.samples.incremental import add_rows, changed_samples
from training.data.published_builds import published_versions
from training.data.snapshot import take_snapshot
from training.errors import UserError
from training.train import train

SETTINGS = ("data.columns.label=label", "data.columns.time=time")


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="module")
def sound(spark, make_config, log):
    """Builds tables that pass the checks, and returns their config."""
    config = make_config("csv", log, *SETTINGS)
    build_domains.build(spark, config)
    return config


@pytest.fixture
def copied(sound, log, tmp_path):
    """Copies the tables of `sound`, and returns the config; a test may change these tables and the log."""
    shutil.copytree(f"{sound.root}/tables", tmp_path / "tables")
    yield replace(sound, root=str(tmp_path))
    (log / "2.csv").unlink(missing_ok=True)
    write_log(log)


def write_log(path, domain="a", labels=2):
    """Writes twenty rows of one domain to the folder `path`; every `labels`-th row has label 0, the others 1."""
    rows = [f"{domain},u{n % 5},i{n},{int(n % labels > 0)},{n}\n" for n in range(20)]
    (path / "1.csv").write_text("domain,user,item,label,time\n" + "".join(rows))
    return path


def one_row_more(describe):
    """Wraps a function that describes domains, so that it counts one training row too many."""

    def describe_wrongly(*arguments):
        described = describe(*arguments)
        return described.withColumns({name: F.col(name) + 1 for name in ("rows", "rows_train")})

    return describe_wrongly


@contextmanager
def edited(spark, config, table, statement):
    """Changes a table inside the block."""
    path = config.table(table)
    before = tables.version(path)
    spark.sql(statement.format(f"delta.`{path}`"))
    yield
    tables.restore(spark, path, before)


def test_build_that_fails_a_check_is_not_published(spark, copied, monkeypatch):
    published = published_versions(copied)
    with monkeypatch.context() as patch:
        patch.setattr(build_domains, "describe_domains", one_row_more(build_domains.describe_domains))
        with pytest.raises(
            UserError, match=r"sql/checks/domains.sql \(domains whose number .*: 1\) and are not published"
        ):
            build_domains.build(spark, copied)
    assert tables.version(copied.table("samples")) > published["samples"]
    assert published_versions(copied) == published
    assert take_snapshot(copied).domains.rows_train.tolist() == [12]
    build_domains.build(spark, copied)
    assert published_versions(copied)["samples"] == tables.version(copied.table("samples"))


def test_failed_first_build_leaves_nothing_to_train_on(spark, make_config, log, monkeypatch):
    config = make_config("csv", log, *SETTINGS)
    monkeypatch.setattr(build_domains, "describe_domains", one_row_more(build_domains.describe_domains))
    with pytest.raises(UserError, match="failed the check"):
        build_domains.build(spark, config)
    with pytest.raises(UserError, match="comes from a build that did not finish: run pipelines/build_domains.py"):
        train(config)


def test_next_build_undoes_a_failed_incremental_build(spark, copied, log, monkeypatch):
    """Rows that were deleted before the failed build stay deleted."""
    config = replace(copied, data=replace(copied.data, incremental=True))
    spark.sql(f"DELETE FROM delta.`{config.table('samples')}` WHERE user_id = 0")
    published = published_versions(config)
    (log / "2.csv").write_text("domain,user,item,label,time\nb,u1,i1,1,30\nb,u2,i1,0,30\n")

    def meanwhile(*_):
        spark.newSession().sql(f"DELETE FROM delta.`{config.table('samples')}` WHERE user_id = 1")

    for module, name, replacement, message in (
        (changed_samples, "describe_domains", one_row_more(changed_samples.describe_domains), "failed the check"),
        (add_rows, "require_sound", meanwhile, "written by another job"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, replacement)
            with pytest.raises(UserError, match=message):
                build_domains.build(spark, config)
        assert published_versions(config) == published
        assert len(take_snapshot(config).domains) == 1
    summary = build_domains.build(spark, config)
    assert (summary["rows_kept"], summary["domains"], summary["samples"]) == (2, 2, 18)
    assert len(take_snapshot(config).domains) == 2


def test_of_two_concurrent_builds_only_one_is_published(spark, copied, monkeypatch):
    published = []

    def meanwhile(*_):
        monkeypatch.undo()
        spark.catalog.clearCache()  # another process does not see the frames of this one
        build_domains.build(spark.newSession(), copied)
        published.append(published_versions(copied))

    monkeypatch.setattr(build_domains, "require_sound", meanwhile)
    with pytest.raises(UserError, match="written by another job .* run one build of these tables at a time"):
        build_domains.build(spark, copied)
    assert published_versions(copied) == published[0]


def test_trainer_does_not_read_deleted_rows(spark, sound):
    with edited(spark, sound, "samples", "DELETE FROM {} WHERE user_id = 0"):
        rows = take_snapshot(sound).rows_by_bucket("train")
        stored = tables.read(spark, sound.table("samples")).where("split = 'train'").count()
        assert sum(rows.values()) == stored < 12


def test_error_of_a_wrong_number_of_samples_names_the_sampler(spark):
    plan = spark.createDataFrame([(3,), (4,)], "rows BIGINT")
    require_planned_rows(7, plan)
    with pytest.raises(RuntimeError, match=r"has 6 rows, but the plan counted 7: in pipelines/samples/negatives.py"):
        require_planned_rows(6, plan)


def test_repeated_pair_in_a_bucket_is_an_error():
    columns = {"domain_id": [1, 1, 2], "user_id": [5, 5, 5], "item_id": [7, 7, 7], "bucket": [3, 3, 3]}
    refuse_doubles(pa.table({**columns, "item_id": [7, 8, 7]}))
    with pytest.raises(RuntimeError, match=r"bucket 3 of the samples holds 1 repeated \(domain, user, item\)"):
        refuse_doubles(pa.table(columns))


@pytest.mark.parametrize(
    ("domain", "labels", "problem", "allowed"),
    [
        ("b", 2, "domains of the last build are gone .*: 1", {"vanished_domains": 1}),
        ("a", 20, r"the share of positives moved by .*: \d+", {"label_rate": 0.5}),
    ],
)
def test_log_unlike_the_last_one_is_published_only_if_allowed(spark, copied, log, domain, labels, problem, allowed):
    published = published_versions(copied)
    write_log(log, domain, labels)
    with pytest.raises(UserError, match=problem):
        build_domains.build(spark, copied)
    assert published_versions(copied) == published
    build_domains.require_sound(spark, replace(copied, checks=replace(copied.checks, **allowed)))
    with_other_settings = replace(copied, data=replace(copied.data, domains=[domain]))
    build_domains.require_sound(spark, with_other_settings)  # builds with other settings are not compared


@pytest.mark.parametrize(
    ("table", "change", "problem"),
    [
        ("users", "DELETE FROM {} WHERE id = 1", "whose ids have gaps: 1"),
        ("items", "DELETE FROM {} WHERE id >= 18", "lack ids of the samples: 1"),
    ],
)
def test_inconsistent_tables_fail_a_check(spark, sound, table, change, problem):
    with edited(spark, sound, table, change), pytest.raises(UserError, match=problem):
        build_domains.require_sound(spark, sound)
