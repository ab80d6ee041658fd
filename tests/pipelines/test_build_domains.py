"""Builds whole logs, and compares the tables with plain loops over the rows."""

import json
import random
import subprocess
import zipfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from py4j.protocol import Py4JJavaError

from pipelines.build_domains import build_domains
from pipelines.engine import tables
from tests.support.jobs import REPOSITORY, TWO_EXECUTORS, submit
from tests.support.spark_flags import PRODUCTION_OPTIONS
from training.column_names import ID_ORDER
from training.config import Config, load_config
from training.data.frozen_vectors import load_vectors
from training.errors import UserError

AMAZON = REPOSITORY.parent / "shared" / "data" / "amazon-mini5" / "stripped"
SETTINGS = ("data.bucket_rows=150", "data.head_rows=60")
TABLES = ("samples", "domains", "users", "items", "rejects")
SUMMARY = [
    *("rows_in", "rows_kept", "rows_rejected", "rows_duplicate", "samples", "domains", "users", "items"),
    *("table_version", "seconds", "samples_per_second"),
]


@dataclass(frozen=True)
class Build:
    """A build in this process: its config and its summary."""

    config: Config
    summary: dict


@dataclass(frozen=True)
class SubmittedBuild:
    """A build by spark-submit: its config and the finished process."""

    config: Config
    process: subprocess.CompletedProcess


@dataclass(frozen=True)
class BuiltTables:
    """A build of a log that changes: its summary and, by table, the rows that it wrote."""

    summary: dict
    rows: dict


def good_rows():
    """Returns (user, item, domain) without labels: a head domain of 41 users and 31 tail domains."""
    rows = [(f"u{n % 40}", f"i{n * n % 61}", "b/c d") for n in range(160)]
    rows += [(f"u{(7 * d + n) % 50}", f"i{(d + n * n) % 23}", f"tail {d}") for d in range(30) for n in range(d % 9 + 1)]
    return [*rows, ("007", "12x", "b/c d"), ("12x", "007", "007"), ("7", "7", "007"), ("7", "12x", "007")]


def write_log(path, files):
    """Writes the good rows and three bad ones, shuffled, as a folder of CSV files."""
    lines = [",".join(row) for row in good_rows()] + [",i1,tail 1", "u1,,tail 1", "u1,i1"]
    random.Random(files).shuffle(lines)
    path.mkdir()
    for number in range(files):
        text = "\n".join(["user,item,domain", *lines[number::files], ""])
        (path / f"{number}.csv").write_text(text)
    return path


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("logs") / "two", files=2)


@pytest.fixture(scope="module")
def built(spark, log, make_config):
    config = make_config("csv", log, *SETTINGS)
    return Build(config, build_domains(spark, config))


def rows_of(spark, config, name):
    return tables.read(spark, config.table(name)).collect()


def key_by_id(spark, config, name):
    return {row["id"]: row["key"] for row in rows_of(spark, config, name)}


@pytest.fixture(scope="module")
def samples(spark, built):
    return rows_of(spark, built.config, "samples")


@pytest.fixture(scope="module")
def domains(spark, built):
    return {row["domain_key"]: row for row in rows_of(spark, built.config, "domains")}


@pytest.fixture(scope="module")
def named(spark, built, samples, domains):
    """Returns the samples with keys instead of ids: (user, item, domain, label)."""
    users, items = (key_by_id(spark, built.config, name) for name in ("users", "items"))
    keys = {row["domain_id"]: key for key, row in domains.items()}
    return [(users[s["user_id"]], items[s["item_id"]], keys[s["domain_id"]], s["label"]) for s in samples]


def contents(spark, config):
    """Returns the rows of each table, to the last digit."""
    return {name: sorted(map(repr, rows_of(spark, config, name))) for name in TABLES}


def test_each_row_is_kept_rejected_or_duplicate(built):
    rows = good_rows()
    assert len(set(rows)) < len(rows)
    expected = (len(rows) + 3, len(set(rows)), 3, len(rows) - len(set(rows)))
    assert tuple(built.summary[name] for name in SUMMARY[:4]) == expected


def test_summary_counts_the_rows_of_the_tables(spark, built):
    for name in ("samples", "domains", "users", "items"):
        assert built.summary[name] == len(rows_of(spark, built.config, name))


def test_rejects_hold_row_column_and_reason(spark, built):
    rows = rows_of(spark, built.config, "rejects")
    rejects = {(row["column"], row["reason"]): json.loads(row["row"]) for row in rows}
    assert set(rejects) == {("user", "null"), ("item", "null"), ("line", "malformed")}
    assert rejects["user", "null"] == {"item": "i1", "domain": "tail 1"}
    assert rejects["line", "malformed"]["_malformed"] == "u1,i1"


@pytest.mark.parametrize(("name", "column"), [("users", 0), ("items", 1)])
def test_keys_are_as_written_and_ids_are_dense(spark, built, name, column):
    rows = rows_of(spark, built.config, name)
    assert sorted(row["key"] for row in rows) == sorted({row[column] for row in good_rows()})
    assert sorted(row["id"] for row in rows) == list(range(len(rows)))


def test_domain_keys_are_as_written_and_ids_are_dense(domains):
    assert set(domains) == {row[2] for row in good_rows()}
    assert sorted(row["domain_id"] for row in domains.values()) == list(range(len(domains)))


def test_positives_are_the_rows_of_the_log(named):
    assert Counter(row[:3] for row in named if row[3] == 1) == Counter(set(good_rows()))


def test_negatives_come_from_the_domain_in_the_right_number(named, domains):
    liked, pools, drawn = defaultdict(set), defaultdict(set), defaultdict(list)
    for user, item, domain in good_rows():
        liked[domain, user].add(item)
        pools[domain].add(item)
    for user, item, domain, label in named:
        if label == 0:
            drawn[domain, user].append(item)
    for (domain, user), positives in liked.items():
        rest = pools[domain] - positives
        negatives = drawn[domain, user]
        assert len(negatives) == min(int(len(positives) / domains[domain]["ctr_ratio"]), len(rest))
        assert len(set(negatives)) == len(negatives)
        assert set(negatives) <= rest
    assert set(drawn) <= set(liked)


def test_negatives_of_a_head_domain_come_from_all_its_buckets(named, samples, domains):
    head = domains["b/c d"]
    buckets = defaultdict(lambda: (set(), set()))
    for (_, item, domain, label), sample in zip(named, samples, strict=True):
        if domain == "b/c d":
            buckets[sample["bucket"]][int(label)].add(item)
    assert head["buckets"] > 2
    assert all(negatives - positives for negatives, positives in buckets.values())


def test_split_is_60_20_20_per_bucket_domain_and_label(samples):
    groups = defaultdict(Counter)
    for row in samples:
        groups[row["bucket"], row["domain_id"], row["label"]][row["split"]] += 1
    for counts in groups.values():
        size = counts.total()
        assert counts["val"] == counts["test"] == size // 5
    assert min(counts.total() for counts in groups.values()) == 1


def test_domains_table_describes_the_samples(samples, domains):
    by_domain = defaultdict(list)
    for row in samples:
        by_domain[row["domain_id"]].append(row)
    for row in domains.values():
        of_domain = by_domain[row["domain_id"]]
        assert row["rows"] == len(of_domain)
        for split in ("train", "val", "test"):
            of_split = [sample for sample in of_domain if sample["split"] == split]
            assert row[f"rows_{split}"] == len(of_split)
            assert row[f"positives_{split}"] == sum(sample["label"] for sample in of_split)
        assert row["users"] == len({sample["user_id"] for sample in of_domain})
        assert row["items"] == len({sample["item_id"] for sample in of_domain})
        assert row["short"] == (min(row["rows_train"], row["rows_val"], row["rows_test"]) == 0)
        last = row["first_bucket"] + row["buckets"]
        assert {sample["bucket"] for sample in of_domain} <= set(range(row["first_bucket"], last))


def test_buckets_hold_whole_tail_domains_or_a_head_domain(samples, domains):
    heads = {row["domain_id"] for row in domains.values() if row["head"]}
    assert heads == {domains["b/c d"]["domain_id"]}
    assert {row["buckets"] for row in domains.values() if not row["head"]} == {1}
    rows, kinds = Counter(row["bucket"] for row in samples), defaultdict(set)
    for row in samples:
        kinds[row["bucket"]].add(row["domain_id"] in heads)
    tail = [bucket for bucket, kind in kinds.items() if kind == {False}]
    assert len(tail) > 1
    assert max(rows[bucket] for bucket in tail) <= 150 + 60
    assert all(len(kind) == 1 for kind in kinds.values())


def test_rows_of_a_user_in_a_domain_are_in_one_bucket(samples):
    buckets = defaultdict(set)
    for row in samples:
        buckets[row["domain_id"], row["user_id"]].add(row["bucket"])
    assert {len(of_user) for of_user in buckets.values()} == {1}


def test_tables_are_independent_of_partitioning(spark, built, make_config, tmp_path, shuffle_partitions):
    config = make_config("csv", write_log(tmp_path / "log", files=7), *SETTINGS)
    shuffle_partitions(7)
    build_domains(spark, config)
    assert contents(spark, config) == contents(spark, built.config)


def test_another_seed_changes_negatives_and_splits_but_no_ids(spark, built, log, make_config):
    config = make_config("csv", log, *SETTINGS, "seed=1")
    build_domains(spark, config)
    first, second = contents(spark, built.config), contents(spark, config)
    for name in ("users", "items", "rejects"):
        assert first[name] == second[name]
    pairs, other_pairs = (
        {(row["domain_id"], row["user_id"], row["item_id"]): row for row in rows_of(spark, config, "samples")}
        for config in (built.config, config)
    )
    both = pairs.keys() & other_pairs.keys()
    positives = {pair for pair in both if pairs[pair]["label"] == 1}
    assert len(positives) == len(set(good_rows()))
    assert len(both - positives) < 0.8 * (len(pairs) - len(positives))
    assert sum(pairs[pair]["split"] != other_pairs[pair]["split"] for pair in positives) > 0.2 * len(positives)


@pytest.fixture(scope="module")
def submitted(log, wheel, tmp_path_factory):
    """Builds the log on a cluster of two executors with Spark's default plans.

    Driver and executors load the package, including its SQL, from --py-files.
    """
    folder = tmp_path_factory.mktemp("submitted")
    job, config = folder / "job.py", folder / "config.yaml"
    job.write_text(
        "from pipelines import build_domains\nfrom pipelines.engine import session\n"
        "assert '.whl' in build_domains.__file__, build_domains.__file__\n"
        "session.run_job('build_domains', build_domains.build)\n"
    )
    config.write_text(f"root: {folder}\ndata: {{source: csv, path: {log}}}\n")
    options = [*PRODUCTION_OPTIONS, "--conf", "spark.sql.shuffle.partitions=3", "--py-files", str(wheel)]
    done = submit(TWO_EXECUTORS, *options, str(job), "--config", str(config), *SETTINGS)
    assert done.returncode == 0, done.stderr
    return SubmittedBuild(load_config(str(config)), done)


def test_wheel_has_all_statements(wheel):
    statements = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "sql").rglob("*.sql")}
    with zipfile.ZipFile(wheel) as archive:
        assert "sql/queries/auc.sql" in statements <= set(archive.namelist())


def test_wheel_builds_the_same_tables_on_a_cluster(spark, built, submitted):
    assert contents(spark, submitted.config) == contents(spark, built.config)


def test_submitted_job_prints_its_summary_last(built, submitted):
    summary = json.loads(submitted.process.stdout.splitlines()[-1])
    assert list(summary) == SUMMARY
    untimed = [name for name in SUMMARY if name not in ("seconds", "samples_per_second")]
    assert [summary[name] for name in untimed] == [built.summary[name] for name in untimed]
    assert summary["samples_per_second"] == pytest.approx(summary["samples"] / summary["seconds"], abs=0.1)


@pytest.mark.parametrize("run", ["built", "submitted"])
def test_files_follow_buckets_and_rows_are_sorted(spark, request, samples, run):
    config = request.getfixturevalue(run).config
    names = tables.read(spark, config.table("samples")).inputFiles()
    files = [Path(name.removeprefix("file:")) for name in names]
    folders = Counter((file.parent.parent.name, file.parent.name) for file in files)
    expected = {(f"split={row['split']}", f"bucket={row['bucket']}") for row in samples}
    assert folders == Counter(expected)
    for file in files:
        table = pq.ParquetFile(file).read(list(ID_ORDER))
        rows = list(zip(*table.to_pydict().values(), strict=True))
        assert rows == sorted(rows)


def test_user_error_prints_one_line_and_exits_with_2(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(f"root: {tmp_path}\ndata: {{source: csv, path: nowhere.csv}}\n")
    done = submit("local[1]", "pipelines/build_domains.py", "--config", str(config))
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    hint = "set data.path; the first comment of the config file says how to get the data"
    assert errors == [f"error: input nowhere.csv does not exist: {hint}"]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.fixture(scope="module")
def rebuilt(spark, make_config, tmp_path_factory):
    """Builds a labelled log, changes it and builds it again; returns both builds."""
    path = tmp_path_factory.mktemp("labelled") / "log.csv"
    columns = ("data.columns.label=stars", "data.positive_at=4")
    config = make_config("csv", path, *columns)
    builds = []
    for log in (
        "first,i1,a,4\nfirst,i2,a,3.5\nu2,i1,b,5\n",
        "later,i1,a,4\nu2,i1,b,5\nu3,i2,b,1\nu3,i2,c,1\n",
    ):
        path.write_text(f"user,item,domain,stars\n{log}")
        summary = build_domains(spark, config)
        builds.append(BuiltTables(summary, {name: rows_of(spark, config, name) for name in TABLES}))
        config.data.domains = ["b", "c"]
    return builds


def test_labelled_log_gets_no_negatives(rebuilt):
    first = rebuilt[0]
    assert first.summary["samples"] == first.summary["rows_kept"] == 3
    assert sorted(row["label"] for row in first.rows["samples"]) == [0.0, 1.0, 1.0]
    assert {row["ctr_ratio"] for row in first.rows["domains"]} == {None}


def test_domain_of_one_row_is_in_train_and_short(rebuilt):
    [row] = [row for row in rebuilt[0].rows["domains"] if row["domain_key"] == "b"]
    assert (row["rows_train"], row["rows_val"], row["rows_test"], row["short"]) == (1, 0, 0, True)


def test_rebuild_reads_changed_input_in_one_new_version(rebuilt):
    first, second = rebuilt
    assert second.summary["table_version"] == first.summary["table_version"] + 1
    assert {row["key"] for row in second.rows["users"]} == {"u2", "u3"}
    assert second.summary["samples"] == len(second.rows["samples"]) == 3


def test_only_chosen_domains_are_built(rebuilt):
    summary = rebuilt[1].summary
    assert {row["domain_key"] for row in rebuilt[1].rows["domains"]} == {"b", "c"}
    assert (summary["rows_in"], summary["rows_kept"], summary["domains"]) == (3, 3, 2)


def test_split_and_events_of_the_log_are_kept(spark, make_config, tmp_path):
    """A pair may be in two splits, as in the published splits of Amazon's reviews."""
    rows = [("u1", "i1", "1", "train", "0"), ("u1", "i1", "1", "test", "1"), ("u2", "i1", "0", "val", "2")]
    lines = [",".join((user, item, "a", *rest)) for user, item, *rest in [*rows, ("u3", "i3", "0", "dev", "3")]]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,domain,label,part,row", *lines, ""]))
    columns = "data.columns={label: label, split: part, event: row}"
    config = make_config("csv", tmp_path / "log.csv", columns)
    summary = build_domains(spark, config)
    assert (summary["rows_kept"], summary["rows_rejected"], summary["samples"]) == (3, 1, 3)
    users, items = (key_by_id(spark, config, name) for name in ("users", "items"))
    samples = {
        (users[row["user_id"]], items[row["item_id"]], row["label"], row["split"])
        for row in rows_of(spark, config, "samples")
    }
    assert samples == {(user, item, float(label), split) for user, item, label, split, _ in rows}


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("", [], r"input .*/log.csv has no rows: give a log with at least one row$"),
        (
            "u1,i1,a,1\n",
            ["data.domains=[b]"],
            r"has no rows after data.domains chose: give a log",
        ),
        (
            "u1,i1,a,x\nu2,i1,a,y\n,i1,a,1\n",
            [],
            r'all 3 rows were rejected, most \(2\) because "label" is not a number: check data.columns$',
        ),
        (
            "u1,i1,a,1\nu2,i1,a,3.5\n",
            [],
            r"label 3.5 \(1 rows\) is neither 0 nor 1: set data.positive_at to the value from which",
        ),
    ],
    ids=["empty", "no such domain", "all rejected", "label"],
)
def test_unusable_log_is_a_user_error_of_one_line(spark, make_config, tmp_path, text, settings, message):
    (tmp_path / "log.csv").write_text(f"user,item,domain,label\n{text}")
    config = make_config("csv", tmp_path / "log.csv", "data.columns.label=label", *settings)
    with pytest.raises(UserError, match=message) as caught:
        build_domains(spark, config)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not AMAZON.is_dir(), reason="the Amazon reviews are not beside the repository")
@pytest.mark.parametrize(
    ("category", "ratio", "positives", "samples"),
    [("Gift_Cards", 0.32, 2965, 11_951), ("Magazine_Subscriptions", 0.21, 2311, 13_103)],
)
def test_amazon_has_the_published_sizes(spark, make_config, category, ratio, positives, samples):
    config = make_config("amazon", AMAZON, f"data.ctr_ratio={ratio}", f"data.domains=[{category}]")
    summary = build_domains(spark, config)
    assert (summary["rows_kept"], summary["samples"]) == (positives, samples)


def test_vectors_of_the_source_become_tables(spark, make_config, tmp_path):
    clicks = [(user, item, theme) for user in range(6) for item in range(5) for theme in "ab" if (user + item) % 3]
    lines = ["user_id,item_id,theme_id", *(f"{user},{item},{theme}" for user, item, theme in clicks * 2), "99,0,a"]
    (tmp_path / "theme_click_log.csv").write_text("\n".join(lines))
    for name in ("user", "item"):
        vectors = [f"{key},{key}.5 1 2" for key in range(8)]
        (tmp_path / f"{name}_embedding.csv").write_text("\n".join(vectors))
    config = make_config("theme_click", tmp_path)
    summary = build_domains(spark, config)
    counts = [summary[name] for name in ("rows_kept", "rows_rejected", "rows_duplicate", "domains", "users", "items")]
    assert counts == [len(clicks), 1, len(clicks), 2, 6, 5]
    config.model.user_vectors, config.model.item_vectors = (config.table(f"{o}_vectors") for o in ("user", "item"))
    for name, vectors in load_vectors(config).items():
        keys = {row["id"]: float(row["key"]) for row in rows_of(spark, config, name.replace("_id", "s"))}
        assert vectors.tolist() == [[keys[number] + 0.5, 1.0, 2.0] for number in range(len(keys))]
    assert tables.read(spark, config.model.item_vectors).count() == 5


def test_user_may_be_in_ten_thousand_domains(spark, make_config, tmp_path):
    lines = [f"everywhere,i{domain % 7},d{domain},{domain % 2}" for domain in range(10_000)]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,domain,label", *lines, ""]))
    config = make_config("csv", tmp_path / "log.csv", "data.columns={label: label}", "data.bucket_rows=2000")
    summary = build_domains(spark, config)
    assert (summary["samples"], summary["domains"], summary["users"]) == (10_000, 10_000, 1)
    domains = tables.read(spark, config.table("domains"))
    assert domains.where("rows_train != 1 OR users != 1").count() == 0
    assert domains.groupBy("first_bucket").count().agg({"count": "max"}).first()[0] <= 2001


@pytest.fixture
def small_broadcasts(spark):
    """Lowers the size up to which Spark collects a table to broadcast it."""
    spark.conf.set("spark.sql.autoBroadcastJoinThreshold", "64k")
    yield
    spark.conf.unset("spark.sql.autoBroadcastJoinThreshold")


def test_build_collects_no_rows_to_the_driver(spark, make_config, tmp_path, small_broadcasts):
    rows = 8_000
    keys = [random.Random(number).randbytes(100).hex() for number in range(rows)]
    domains = [f"domain {number % 3}" for number in range(rows)]
    log = pa.table({"user": keys, "item": keys, "domain": domains, "label": np.arange(rows) % 2})
    pq.write_table(log, tmp_path / "log.parquet")
    with pytest.raises(Py4JJavaError, match="maxResultSize"):
        spark.read.parquet(str(tmp_path / "log.parquet")).collect()
    config = make_config("parquet", tmp_path / "log.parquet", "data.columns={label: label}", "data.bucket_rows=2000")
    assert build_domains(spark, config)["users"] == rows
