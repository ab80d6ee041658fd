"""What holds of the tables for any log, also one of nulls, duplicates and odd values."""

import csv
from collections import defaultdict
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines.build_domains import build_domains
from pipelines.engine import tables

EXAMPLES = 1  # which is two builds; another in each run
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
    """Builds a log of rows in some files, and gives the summary and the rows of each table."""

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
    phases=[Phase.generate],  # to find a smaller example takes hours
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=ROWS)
def test_any_log_becomes_tables_in_which_each_row_is_accounted_for(build, rows):
    good = ("u", "i", "d", "1", "")  # without one, a log is refused
    summary, found = build([*rows, good], files=1)
    assert summary["rows_in"] == len(rows) + 1
    assert summary["rows_in"] == summary["rows_kept"] + summary["rows_rejected"] + summary["rows_duplicate"]
    splits, buckets = defaultdict(set), defaultdict(set)
    for domain, user, item, label, bucket, split in found["samples"]:
        splits[domain, user, item].add((split, label))
        buckets[domain].add(bucket)
    assert all(len(of_pair) == 1 for of_pair in splits.values())  # in one split, with one label
    assert len(splits) == len(found["samples"]) == summary["samples"]
    of_bucket = defaultdict(set)
    for domain, own in buckets.items():
        for bucket in own:
            of_bucket[bucket].add(domain)
    assert all(
        len(domains) == 1 for domain, own in buckets.items() if len(own) > 1 for domains in map(of_bucket.get, own)
    )
    assert build([good, *reversed(rows)], files=3)[1] == found
