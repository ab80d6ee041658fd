"""Adaptation of tail domains in Spark tasks: complete, resumable, and equal to adaptation in one process."""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pipelines.dr_longtail import dr_longtail
from pipelines.engine import tables
from pipelines.tasks.adapt_domains import open_adapter
from pipelines.tasks.adapt_tail import split_waves
from pipelines.tasks.model_key import ModelKey
from pipelines.tasks.offset_table import append_offsets
from training.artifacts.domain_parameters import HADOOP_ROW_GROUPS, from_row
from training.artifacts.model_names import model_path
from training.compare.study import Study
from training.config import Config
from training.data.petastorm_reader import read_buckets
from training.data.snapshot import take_snapshot
from training.errors import UserError
from training.frameworks.specific.adapter import Keep
from training.train import train


@dataclass(frozen=True)
class Adapted:
    """A model whose tail domains keep 2, 1 or 0 rounds, and the summary of the job that adapted them."""

    config: Config
    summary: dict


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
    name, dr_rounds, dtype = request.param
    settings = [f"framework.name={name}", f"framework.dr_rounds={dr_rounds}", f"framework.specific_dtype={dtype}"]
    config = built.config(built.copy(tmp_path_factory.mktemp("adapted")), *settings)
    train(config)
    keep_rounds(config)
    return Adapted(config, dr_longtail(spark, config))


def read_parameters(spark, config):
    return spark.read.format("delta").load(config.table("domain_parameters"))


def test_every_domain_gets_one_row_from_the_trainer_or_the_job(spark, adapted):
    domains = spark.read.format("delta").load(adapted.config.table("domains"))
    rows = read_parameters(spark, adapted.config)
    assert sorted(row["domain_id"] for row in rows.collect()) == list(range(domains.count()))
    assert adapted.summary["domains"] == domains.where("NOT head").count()
    of_one_class = domains.where("NOT head AND positives_train IN (0, rows_train)").count()
    assert adapted.summary["domains_too_small"] == of_one_class >= 1
    assert set(adapted.summary) == {
        "domains",
        "domains_skipped",
        "domains_kept",
        "domains_too_small",
        "seconds",
        "domains_per_second",
        "table_version",
    }


def test_offsets_equal_those_learned_in_one_process(spark, adapted):
    config = adapted.config
    snapshot = take_snapshot(config)
    adapter = open_adapter(ModelKey.find(config, snapshot.version))
    dtype = config.framework.specific_dtype
    exact = {"rtol": 0, "atol": 1e-6} if dtype == "float32" else {"rtol": 2**-11, "atol": 1e-6}
    rows = {row["domain_id"]: row.asDict(recursive=True) for row in read_parameters(spark, config).collect()}
    rounds_of = {domain: row["rounds"] for domain, row in rows.items()}
    assert {rounds_of[domain] for domain in snapshot.domains.domain_id[~snapshot.domains.head]} == {0, 1, 2}
    for bucket in snapshot.rows_by_bucket("train"):
        train_rows, val_rows = (read_buckets(snapshot, split, [bucket]) for split in ("train", "val"))
        if snapshot.domains.head[train_rows["domain_id"][0]]:
            continue
        for domain in adapter.adapt(train_rows, val_rows, rounds_of, Keep.LAST):
            row = rows[domain.domain_id]
            assert row["rows_train"] == domain.rows_train
            stored = from_row(row, adapter.theta, dtype)
            if stored is None:
                assert (row["rounds"], row["dense"], row["embeddings"]) == (0, b"", [])
                continue
            expected = domain.offsets[row["rounds"]]
            assert len(row["dense"]) == stored.dense.numel() * np.dtype(dtype).itemsize
            torch.testing.assert_close(stored.dense, expected.dense, **exact)
            for name, values in expected.rows.items():
                torch.testing.assert_close(stored.rows[name], values, **exact)


def test_all_tail_domains_of_a_small_set_are_the_pilot(spark, built, tmp_path, capfd):
    config = built.config(built.copy(tmp_path), "framework.name=joint_dr", "framework.stop_group=4")
    train(config)
    dr_longtail(spark, config)
    domains = take_snapshot(config).domains
    able = set(domains.where(~domains.head).trainable(1).domain_id.tolist())
    assert f"trying 2 rounds on {len(able)} of {len(able)} trainable tail domains" in capfd.readouterr().err
    key = ModelKey.find(config, take_snapshot(config).version)
    rounds = json.loads((model_path(config, key.model_version) / "rounds.json").read_text())
    stored = {row["domain_id"]: row["rounds"] for row in read_parameters(spark, config).collect()}
    tail = {domain: kept for domain, kept in stored.items() if not domains.head[domain]}
    assert able == {int(domain) for domain in rounds}
    assert tail == dict.fromkeys(tail, 0) | {int(domain): kept for domain, kept in rounds.items()}


def test_domains_with_too_few_rows_get_no_offset(spark, built, tmp_path):
    config = built.config(built.copy(tmp_path), "framework.name=joint_dr", "framework.specific_min_rows=100000")
    train(config)
    assert dr_longtail(spark, config)["domains_too_small"] == 10
    assert {row["rounds"] for row in read_parameters(spark, config).collect()} == {0}
    assert set(Study(config).adapt(config).rounds.values()) == {0}


def test_second_run_skips_adapted_domains_and_a_restart_does_the_rest(spark, adapted):
    config = adapted.config
    before = sorted(read_parameters(spark, config).collect())
    again = dr_longtail(spark, config)
    assert (again["domains"], again["domains_skipped"]) == (0, 10)
    lost = before[-1] if not take_snapshot(config).domains.head[before[-1]["domain_id"]] else before[0]
    spark.sql(f"DELETE FROM delta.`{config.table('domain_parameters')}` WHERE domain_id = {lost['domain_id']}")
    restarted = dr_longtail(spark, config)
    assert (restarted["domains"], restarted["domains_skipped"]) == (1, 9)
    assert sorted(row["domain_id"] for row in read_parameters(spark, config).collect()) == list(range(12))


def test_few_domains_share_a_row_group(spark, built, tmp_path):
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


def test_waves_hold_every_bucket_once():
    waves = split_waves(set(range(19)), 8)
    assert [len(wave) for wave in waves] == [8, 8, 3]
    assert sorted(sum(waves, [])) == list(range(19))


def test_errors_name_the_job_that_has_to_run_first(spark, built, tmp_path):
    root = built.copy(tmp_path)
    with pytest.raises(UserError, match="framework dn learns no domain offsets"):
        dr_longtail(spark, built.config(root, "framework.name=dn"))
    with pytest.raises(UserError, match=r"model .* does not exist: run training/train.py"):
        dr_longtail(spark, built.config(root, "framework.name=mamdr"))
    train(built.config(root, "framework.name=dn", "training.epochs=1"))
    with pytest.raises(UserError, match=r"has no helpers: run training/train.py with framework.name=mamdr"):
        dr_longtail(spark, built.config(root, "framework.name=mamdr", "training.epochs=1"))
