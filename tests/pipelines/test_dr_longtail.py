"""DR of the tail in Spark tasks: complete, restartable, and the same as DR by hand."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pipelines.dr_longtail import WAVE, _waves, dr_longtail
from pipelines.engine import tables
from pipelines.serving.offset_table import append_offsets
from pipelines.tasks.adapt_domains import open_adapter
from pipelines.tasks.model_key import ModelKey
from training.artifacts.domain_parameters import HADOOP_ROW_GROUPS, from_row
from training.artifacts.model_names import model_path
from training.compare.study import Study
from training.data.petastorm_reader import read_buckets
from training.data.snapshot import take_snapshot
from training.errors import UserError
from training.frameworks.specific.adapter import Keep
from training.train import train


@pytest.fixture(
    scope="module",
    params=[
        ("joint_dr", 2, "float16"),
        ("weighted_dr_finetune", 1, "float32"),
        ("separate", 1, "float32"),
        ("joint_subspace", 1, "float32"),
    ],
)
def adapted(spark, built, keep_rounds, tmp_path_factory, request):
    """(config, summary) of the whole chain up to dr_longtail; tail domains keep 2, 1 or 0 rounds."""
    name, dr_rounds, dtype = request.param
    settings = [f"framework.name={name}", f"framework.dr_rounds={dr_rounds}", f"framework.specific_dtype={dtype}"]
    config = built.config(built.copy(tmp_path_factory.mktemp("adapted")), *settings)
    train(config)
    keep_rounds(config)
    return config, dr_longtail(spark, config)


def read_parameters(spark, config):
    return spark.read.format("delta").load(config.table("domain_parameters"))


def test_every_domain_has_one_row_heads_from_the_workers_and_tails_from_the_job(spark, adapted):
    config, summary = adapted
    domains = spark.read.format("delta").load(config.table("domains"))
    rows = read_parameters(spark, config)
    assert sorted(row["domain_id"] for row in rows.collect()) == list(range(domains.count()))
    assert summary["domains"] == domains.where("NOT head").count()
    of_one_class = domains.where("NOT head AND positives_train IN (0, rows_train)").count()
    assert summary["domains_too_small"] == of_one_class >= 1
    assert set(summary) == {
        "domains",
        "domains_skipped",
        "domains_kept",
        "domains_too_small",
        "seconds",
        "domains_per_second",
        "table_version",
    }


def test_theta_i_is_what_rounds_by_hand_give(spark, adapted):
    config, _ = adapted
    snapshot = take_snapshot(config)
    adapter = open_adapter(ModelKey.find(config, snapshot.version))
    dtype = config.framework.specific_dtype
    exact = {"rtol": 0, "atol": 1e-6} if dtype == "float32" else {"rtol": 2**-11, "atol": 1e-6}
    rows = {row["domain_id"]: row.asDict(recursive=True) for row in read_parameters(spark, config).collect()}
    kept = {domain: row["rounds"] for domain, row in rows.items()}
    assert {kept[domain] for domain in snapshot.domains.domain_id[~snapshot.domains.head]} == {0, 1, 2}
    for bucket in snapshot.rows_by_bucket("train"):
        train_rows, val_rows = (read_buckets(snapshot, split, [bucket]) for split in ("train", "val"))
        head = snapshot.domains.head[train_rows["domain_id"][0]]
        if head:
            continue
        for one in adapter.adapt(train_rows, val_rows, kept, Keep.LAST):
            row = rows[one.domain_id]
            assert row["rows_train"] == one.rows_train
            stored = from_row(row, adapter.theta, dtype)
            if stored is None:
                assert (row["rounds"], row["dense"], row["embeddings"]) == (0, b"", [])
                continue
            expected = one.offsets[row["rounds"]]
            assert len(row["dense"]) == stored.dense.numel() * np.dtype(dtype).itemsize
            torch.testing.assert_close(stored.dense, expected.dense, **exact)
            for name, values in expected.rows.items():
                torch.testing.assert_close(stored.rows[name], values, **exact)


def test_the_stop_looks_at_every_tail_domain_of_a_small_set_and_its_choice_is_kept(spark, built, tmp_path, capfd):
    config = built.config(built.copy(tmp_path), "framework.name=joint_dr", "framework.stop_group=4")
    train(config)
    dr_longtail(spark, config)
    domains = take_snapshot(config).domains
    able = set(domains.where(~domains.head).trainable(1).domain_id.tolist())
    assert f"theta^i: {len(able)} of {len(able)} tail domains that can learn try 2 rounds" in capfd.readouterr().err
    key = ModelKey.find(config, take_snapshot(config).version)
    rounds = json.loads((model_path(config, key.model_version) / "rounds.json").read_text())
    stored = {row["domain_id"]: row["rounds"] for row in read_parameters(spark, config).collect()}
    tail = {domain: kept for domain, kept in stored.items() if not domains.head[domain]}
    assert able == {int(domain) for domain in rounds}
    assert tail == dict.fromkeys(tail, 0) | {int(domain): kept for domain, kept in rounds.items()}


def test_domains_with_too_few_rows_keep_no_theta_i_wherever_they_are_adapted(spark, built, tmp_path):
    config = built.config(built.copy(tmp_path), "framework.name=joint_dr", "framework.specific_min_rows=100000")
    train(config)
    assert dr_longtail(spark, config)["domains_too_small"] == 10
    assert {row["rounds"] for row in read_parameters(spark, config).collect()} == {0}
    assert set(Study(config).adapt(config).rounds.values()) == {0}


def test_a_second_run_skips_what_is_done_and_a_restart_does_only_the_rest(spark, adapted):
    config, _ = adapted
    before = sorted(read_parameters(spark, config).collect())
    again = dr_longtail(spark, config)
    assert (again["domains"], again["domains_skipped"]) == (0, 10)
    lost = before[-1] if not take_snapshot(config).domains.head[before[-1]["domain_id"]] else before[0]
    spark.sql(f"DELETE FROM delta.`{config.table('domain_parameters')}` WHERE domain_id = {lost['domain_id']}")
    restarted = dr_longtail(spark, config)
    assert (restarted["domains"], restarted["domains_skipped"]) == (1, 9)
    assert sorted(row["domain_id"] for row in read_parameters(spark, config).collect()) == list(range(12))


def test_few_domains_share_a_row_group_which_is_what_a_server_reads_for_one(spark, built, tmp_path):
    table = tables.read(spark, built.config().table("domain_parameters"))
    row = {"model_version": "m", "bucket": 0, "rounds": 1, "embeddings": [], "rows_train": 1, "rows_val": 1}
    draw = np.random.default_rng(0).bytes
    rows = [{**row, "domain_id": domain, "dense": draw(50_000) if domain >= 250 else b""} for domain in range(500)]
    append_offsets(spark.createDataFrame(rows, table.schema).coalesce(1), str(tmp_path))
    [file] = tmp_path.glob("*.parquet")
    written = pq.ParquetFile(file).metadata
    assert written.num_rows == 500
    groups = [written.row_group(group) for group in range(written.num_row_groups)]
    assert max(group.total_byte_size for group in groups) < 8 << 20
    assert [spark.conf.get(key, None) for key in HADOOP_ROW_GROUPS] == [None, None]


def test_a_wave_has_a_bound_and_every_bucket_comes_once():
    waves = _waves(set(range(19)), WAVE)
    assert [len(wave) for wave in waves] == [8, 8, 3]
    assert sorted(sum(waves, [])) == list(range(19))


def test_what_has_to_come_first_is_named(spark, built, tmp_path):
    root = built.copy(tmp_path)
    with pytest.raises(UserError, match="framework dn adds nothing by domain"):
        dr_longtail(spark, built.config(root, "framework.name=dn"))
    with pytest.raises(UserError, match=r"model .* does not exist: run training/train.py"):
        dr_longtail(spark, built.config(root, "framework.name=mamdr"))
    train(built.config(root, "framework.name=dn", "training.epochs=1"))
    with pytest.raises(UserError, match=r"has no helpers: run training/train.py with framework.name=mamdr"):
        dr_longtail(spark, built.config(root, "framework.name=mamdr", "training.epochs=1"))
