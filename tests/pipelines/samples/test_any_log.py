"""Tests what holds for the tables of any log, even with nulls, duplicates and odd values."""

import csv
from collections import defaultdict
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines.build_domains import build_domains
from pipelines.engine import tables

EXAMPLES = 1  # two builds; each run draws another log
KEYS = st.sampled_from(
    ["", "a", "007", "7", "12x", "b/c d", "'; DROP", "`tick`", "=1+1", "../up", "50%", "🙂", "x" * 300]
)
LABELS = st.sampled_from(["1", "0", "1.0", "0.0", " 1", "", "x", "NaN", "-0", "1e400"])
TIMES = st.sampled_from(["", "1", "2", "2026-01-01 00:00:00", "yesterday"])
USERS = st.one_of(KEYS, st.integers(0, 6).map(str))
ROWS = st.lists(st.tuples(USERS, USERS, KEYS, LABELS, TIMES), min_size=60, max_size=120)
TABLES = ("samples", "domains", "users", "items", "rejects")


@pytest.fixture(params=["labelled", "positives only"])
def build(request, spark, make_config, shuffle_partitions):
    """Returns a function that builds a log of rows, and returns the summary and the rows of each table."""

    def run(rows, files):
        folder = mkdtemp()
        for number in range(files):
            with open(f"{folder}/{number}.csv", "w", newline="") as file:
                csv.writer(file).writerows([("user", "item", "domain", "label", "time"), *rows[number::files]])
        chosen = ["data.columns.label=label"] if request.param == "labelled" else []
        settings = ["data.columns.time=time", "data.bucket_rows=12", "data.head_rows=6", *chosen]
        shuffle_partitions(files)
        config = make_config("csv", folder, *settings)
        summary = build_domains(spark, config)
        return summary, {name: sorted(map(tuple, tables.read(spark, config.table(name)).collect())) for name in TABLES}

    return run


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.generate],  # shrinking an example would take hours
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=ROWS)
def test_any_log_gives_consistent_tables(build, rows):
    good = ("u", "i", "d", "1", "")  # a log without a good row is refused
    summary, built = build([*rows, good], files=1)
    assert summary["rows_in"] == len(rows) + 1
    assert summary["rows_in"] == summary["rows_kept"] + summary["rows_rejected"] + summary["rows_duplicate"]
    splits, buckets = defaultdict(set), defaultdict(set)
    for domain, user, item, label, bucket, split in built["samples"]:
        splits[domain, user, item].add((split, label))
        buckets[domain].add(bucket)
    assert all(len(of_pair) == 1 for of_pair in splits.values())  # in one split, with one label
    assert len(splits) == len(built["samples"]) == summary["samples"]
    of_bucket = defaultdict(set)
    for domain, of_domain in buckets.items():
        for bucket in of_domain:
            of_bucket[bucket].add(domain)
    shared_by_heads = [
        bucket
        for of_domain in buckets.values()
        if len(of_domain) > 1
        for bucket in of_domain
        if len(of_bucket[bucket]) > 1
    ]
    assert shared_by_heads == []
    assert build([good, *reversed(rows)], files=3)[1] == built
