"""The trainer as a command, on built tables: resume, ranks, refusals, the summary."""

import json
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from deltalake import DeltaTable

from tests.support.jobs import horovodrun
from tests.support.reference import LEARNED, assert_close
from training.artifacts.model_names import model_path, shared_version, specific_version, trained_state
from training.artifacts.model_store import FOLDER, load_theta
from training.artifacts.warm_start import find_warm_start
from training.config import framework_names
from training.data import frozen_vectors
from training.data.delta_files import read_columns
from training.data.frozen_vectors import load_vectors
from training.data.petastorm_reader import read_buckets
from training.data.snapshot import take_snapshot
from training.distributed.ranks import Ranks
from training.errors import UserError
from training.files import tensor_folder
from training.frameworks import SHARED, SPECIFIC
from training.frameworks.specific.adapter import Adapter, adaptation_settings
from training.loop.gather_adapter import gather_adapter
from training.loop.open_run import refuse_idle_ranks
from training.loop.training_run import Workers
from training.train import train

SUMMARY = {
    "framework",
    "model",
    "ranks",
    "epochs",
    "samples",
    "samples_per_second",
    "best_epoch",
    "val_mean_domain_auc",
    "model_path",
}


def theta_of(summary):
    return tensor_folder.load(Path(summary["model_path"]) / "theta")


@pytest.mark.parametrize("framework", LEARNED)
def test_each_framework_reads_every_listed_row_in_each_epoch(built, framework):
    config = built.config(f"framework.name={framework}")
    summary = train(config)
    listed = sum(take_snapshot(config).rows_by_bucket("train").values())
    assert summary["samples"] == 2 * listed
    _, manifest = theta_of(summary)
    assert [epoch["rows_read"] for epoch in manifest["progress"]["history"]] == [listed, listed]


@pytest.mark.parametrize("framework", ["alternate", "dn", "weighted", "interleaved"])
def test_a_run_that_goes_on_from_a_checkpoint_is_the_run_that_never_stopped(built, tmp_path, framework):
    settings = ["framework.name=mamdr", "framework.interleave=true"]
    settings = settings if framework == "interleaved" else [f"framework.name={framework}"]
    in_parts, at_once = (built.copy(tmp_path / name) for name in ("parts", "once"))
    for epochs in (1, 2, 4):
        parts = train(built.config(*settings, in_parts, f"training.epochs={epochs}"))
    once = train(built.config(*settings, at_once, "training.epochs=4"))
    assert parts["best_epoch"] == once["best_epoch"]
    assert parts["val_mean_domain_auc"] == once["val_mean_domain_auc"]
    assert_close(theta_of(parts)[0], theta_of(once)[0])


def test_a_loss_that_is_not_finite_stops_the_run_and_the_last_good_checkpoint_is_taken_up(
    built, tmp_path, monkeypatch, capfd
):
    settings = ["framework.name=dn", built.copy(tmp_path)]
    train(built.config(*settings, "training.epochs=1"))

    def read_bad_rows(*arguments):
        rows = read_buckets(*arguments)
        return {**rows, "label": np.where(rows["domain_id"] == 3, np.nan, rows["label"]).astype(np.float32)}

    with monkeypatch.context() as patch:
        patch.setattr("training.loop.trainer.read_buckets", read_bad_rows)
        with pytest.raises(UserError, match=r"loss is nan in step \d+, in a batch of domain_id .*3"):
            train(built.config(*settings, "training.epochs=3"))
    assert train(built.config(*settings, "training.epochs=3"))["epochs"] == 3
    assert capfd.readouterr().err.count("resuming after epoch 1") == 2


def test_a_torn_checkpoint_is_passed_over(built, tmp_path):
    settings = ["framework.name=dn", built.copy(tmp_path)]
    folder = Path(train(built.config(*settings))["model_path"]) / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["epoch-00001", "epoch-00002"]
    (folder / "epoch-00002" / tensor_folder.TENSORS).write_bytes(b"torn")
    assert train(built.config(*settings))["epochs"] == 2
    assert tensor_folder.load_last(folder)[1]["epoch"] == 2


def test_the_best_epoch_is_restored_and_patience_ends_the_run(built):
    settings = (
        "framework.name=joint",
        "framework.inner_lr=0.05",
        "training.epochs=40",
        "training.patience=2",
    )
    summary = train(built.config(*settings))
    assert summary["epochs"] == summary["best_epoch"] + 2 < 40
    _, manifest = theta_of(summary)
    history = manifest["progress"]["history"]
    assert max(epoch["val_mean_domain_auc"] for epoch in history) == summary["val_mean_domain_auc"]


def test_the_seed_decides_the_model(built, tmp_path):
    roots = [built.copy(tmp_path / name) for name in "abc"]
    thetas = [
        theta_of(train(built.config("framework.name=dn", root, f"seed={seed}")))[0]
        for root, seed in zip(roots, (0, 0, 1), strict=True)
    ]
    assert_close(thetas[0], thetas[1])
    assert not all((thetas[0][name] == thetas[2][name]).all() for name in thetas[0])


def test_frozen_vectors_come_from_a_delta_table_by_key(spark, built, tmp_path):
    keys = spark.read.format("delta").load(built.config().table("users"))
    path = str(tmp_path / "vectors")
    keys.selectExpr("key", "array(cast(key AS float), cast(1 AS float)) AS vector").write.format("delta").save(path)
    config = built.config(f"model.user_vectors={path}", "framework.name=dn")
    vectors = load_vectors(config)
    assert set(vectors) == {"user_id"}
    for row in keys.collect():
        assert vectors["user_id"][row["id"]].tolist() == [float(row["key"]), 1.0]
    folder = Path(train(config)["model_path"])
    keys.selectExpr("key", "array(0f, 0f) AS vector").write.format("delta").mode("overwrite").save(path)
    assert load_vectors(config)["user_id"].tolist() == [[0.0, 0.0]] * 40
    _, theta = load_theta(folder, config)
    assert theta.frozen["embeddings.user_id.weight"].tolist() == vectors["user_id"].tolist()


def test_two_trainings_may_lay_out_the_same_vectors_at_once(spark, built, tmp_path, monkeypatch):
    keys = spark.read.format("delta").load(built.config().table("users"))
    path = str(tmp_path / "vectors")
    keys.selectExpr("key", "array(cast(key AS float)) AS vector").write.format("delta").save(path)
    config = built.config(built.copy(tmp_path), f"model.user_vectors={path}")
    write, both = frozen_vectors._write, threading.Barrier(2, timeout=60)

    def write_with_the_other(*arguments):
        write(*arguments)
        both.wait()

    monkeypatch.setattr(frozen_vectors, "_write", write_with_the_other)
    with ThreadPoolExecutor(2) as pool:
        first, second = (found["user_id"] for found in pool.map(load_vectors, [config, config]))
    assert first.tolist() == second.tolist()
    assert first.any()


@pytest.mark.parametrize(
    ("key", "vector", "message"),
    [
        ("key", "if(key = '3', array(1f), array(1f, 2f))", "all vectors must have one length"),
        ("'user ' || key", "array(1f)", "has a vector for none of the 40 keys"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(spark, built, tmp_path, key, vector, message):
    keys = spark.read.format("delta").load(built.config().table("users"))
    path = str(tmp_path / "vectors")
    keys.selectExpr(f"{key} AS key", f"{vector} AS vector").write.format("delta").save(path)
    with pytest.raises(UserError, match=message):
        load_vectors(built.config(built.copy(tmp_path), f"model.user_vectors={path}"))


def test_the_settings_that_decide_a_model_are_in_its_name(built):
    names = [
        shared_version(built.config(*settings), 1)
        for settings in (
            [],
            ["seed=1"],
            ["model.dropout=0.2"],
            ["framework.inner_lr=0.1"],
            ["framework.outer_lr=0.1"],
            ["training.pack=false"],
            ["framework.interleave=true"],
            ["framework.shared=pcgrad"],
            ["framework.shared=pcgrad", "framework.pcgrad_domains=3"],
            ["framework.shared=none"],
        )
    ]
    assert len(set(names)) == len(names)
    assert shared_version(built.config("training.epochs=9"), 1) == names[0] != shared_version(built.config(), 2)
    joint = [shared_version(built.config(f"framework.name={name}"), 1) for name in ("joint", "joint_dr")]
    assert joint[0] == joint[1]


def test_warm_start_finds_the_newest_earlier_model_however_that_one_started(built, tmp_path, capsys):
    first, daily = (built.config(f"training.warm_start={warm}", f"root={tmp_path}") for warm in ("false", "true"))
    assert find_warm_start(daily, 9) is None
    assert "starting from scratch" in capsys.readouterr().err
    for config, version in ((first, 3), (daily, 3), (first, 5), (daily, 9), (first, 9)):
        (model_path(config, shared_version(config, version)) / FOLDER).mkdir(parents=True)
    expected = {9: (first, 5), 5: (daily, 3)}
    for version, (config, earlier) in expected.items():
        origin = find_warm_start(daily, version)
        assert origin == shared_version(config, earlier)
        assert f"starting from model {origin}" in capsys.readouterr().err
    assert find_warm_start(daily, 3) is None
    assert find_warm_start(first, 9) is None


def test_a_table_with_deletion_vectors_is_refused(spark, built, tmp_path):
    config = built.config("framework.name=dn", built.copy(tmp_path))
    table = f"delta.`{config.table('samples')}`"
    spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')")
    with pytest.raises(UserError, match="has deletion vectors on, which the feed cannot apply"):
        train(config)
    spark.sql(f"DELETE FROM {table} WHERE user_id = 3")
    spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')")
    assert DeltaTable(config.table("samples")).deletion_vectors().read_all().num_rows > 0
    with pytest.raises(UserError, match="has deletion vectors on, which the feed cannot apply"):
        train(config)


@pytest.mark.parametrize(
    ("table", "statements", "message"),
    [
        (
            "samples",
            ["SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name')", "RENAME COLUMN label TO clicked"],
            "has column mapping on",
        ),
        ("users", ["SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name')"], "has column mapping on"),
        ("domains", ["SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')"], "has type widening on"),
    ],
)
def test_a_table_whose_files_are_not_what_it_says_is_refused_by_the_feature(
    spark, built, tmp_path, table, statements, message
):
    config = built.config("framework.name=dn", built.copy(tmp_path))
    if "RENAME" in statements[-1]:
        spark.sql(f"ALTER TABLE delta.`{config.table(table)}` DROP CONSTRAINT IF EXISTS label_is_0_or_1")
    for statement in statements:
        spark.sql(f"ALTER TABLE delta.`{config.table(table)}` {statement}")
    with pytest.raises(UserError, match=rf"table .*{table} \(version \d+\) {message}"):
        train(config)


def test_a_table_of_vectors_with_deleted_rows_is_refused(spark, built, tmp_path):
    path = str(tmp_path / "vectors")
    vectors = spark.createDataFrame([(str(n), [1.0, 2.0]) for n in range(40)], "key STRING, vector ARRAY<FLOAT>")
    vectors.coalesce(1).write.format("delta").option("delta.enableDeletionVectors", "true").save(path)
    config = built.config(f"model.user_vectors={path}", built.copy(tmp_path))
    assert load_vectors(config)
    spark.sql(f"DELETE FROM delta.`{path}` WHERE key = '3'")
    with pytest.raises(UserError, match="vectors .version 1. has deletion vectors"):
        load_vectors(config)


def test_a_file_that_the_table_lists_and_that_is_gone_is_named_before_training(built, tmp_path):
    config = built.config("framework.name=dn", built.copy(tmp_path))
    gone = Path(take_snapshot(config).files[0].path)
    gone.unlink()
    with pytest.raises(UserError, match=rf"lacks 1 of \d+ files, as {re.escape(str(gone))}"):
        train(config)


def test_rows_deleted_before_the_run_are_not_read(spark, built, tmp_path):
    config = built.config("framework.name=dn", "training.epochs=1", built.copy(tmp_path))
    spark.sql(f"DELETE FROM delta.`{config.table('samples')}` WHERE user_id = 3")
    left = spark.read.format("delta").load(config.table("samples")).where("split = 'train'").count()
    assert train(config)["samples"] == left


def test_rows_deleted_after_the_versions_were_pinned_are_read_all_the_same(spark, built, tmp_path):
    snapshot = take_snapshot(built.config(built.copy(tmp_path)))
    table = DeltaTable(built.config(f"root={tmp_path}/root").table("samples"))
    table.delete("user_id = 3")
    assert table.version() == snapshot.version + 1
    assert 3 in read_buckets(snapshot, "train")["user_id"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE {} SET item_id = 99 WHERE user_id = 3", "has item_id 99, and its vocabulary ends at 24"),
        ("UPDATE {} SET user_id = 40 WHERE user_id = 3", "has user_id 40, and its vocabulary ends at 39"),
        ("UPDATE {} SET domain_id = 12 WHERE domain_id = 7", "has domain_id 12, and its vocabulary ends at 11"),
    ],
)
def test_an_id_beyond_its_vocabulary_is_refused_before_training(spark, built, tmp_path, change, message):
    config = built.config("framework.name=dn", built.copy(tmp_path))
    spark.sql(change.format(f"delta.`{config.table('samples')}`"))
    with pytest.raises(UserError, match=rf"file .*parquet of table .*samples \(version \d+\) {message}"):
        train(config)


def test_several_rounds_in_an_epoch_read_every_row_once(built, tmp_path):
    config = built.config("framework.name=dn", "training.rounds_per_epoch=3", built.copy(tmp_path))
    assert train(config)["samples"] == 2 * sum(take_snapshot(config).rows_by_bucket("train").values())


@pytest.mark.parametrize("settings", [[], ["framework.interleave=true"]], ids=["heads", "interleaved"])
def test_a_restart_adds_the_domains_that_a_rank_did_not_come_to_and_none_twice(spark, built, tmp_path, settings):
    config = built.config("framework.name=mamdr", built.copy(tmp_path), *settings)
    path = config.table("domain_parameters")
    train(config)
    before = sorted(read_columns(path, ["domain_id"])["domain_id"].tolist())
    assert len(before) == (12 if settings else 2)
    spark.sql(f"DELETE FROM delta.`{path}` WHERE domain_id = {before[0]}")
    for _ in range(2):
        train(config)
        assert sorted(read_columns(path, ["domain_id"])["domain_id"].tolist()) == before


def test_more_ranks_than_buckets_is_refused(built):
    snapshot = take_snapshot(built.config())
    buckets = len(snapshot.rows_by_bucket("train"))
    refuse_idle_ranks(snapshot, buckets)
    with pytest.raises(UserError, match=f"{buckets + 1} ranks for {buckets} buckets .*: start at most {buckets}"):
        refuse_idle_ranks(snapshot, buckets + 1)


def test_missing_tables_are_named(built, tmp_path):
    with pytest.raises(UserError, match=r"table .*samples does not exist: run pipelines/build_domains.py"):
        train(built.config(f"root={tmp_path}"))


def test_cuda_without_a_gpu_is_refused(built):
    with pytest.raises(UserError, match="training.device is cuda, but torch finds no GPU"):
        train(built.config("training.device=cuda"))


@pytest.mark.parametrize("framework", ["mamdr", "joint_subspace"])
def test_two_ranks_train_and_rank_0_prints_the_summary(built, tmp_path, framework):
    root = built.copy(tmp_path)
    settings = ("--config", built.config_path, root, f"framework.name={framework}")
    done = horovodrun("-np", "2", sys.executable, "training/train.py", *settings)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    prefix, _, last = lines[-1].partition(":")
    assert prefix == "[0]<stdout>"
    assert len(lines) == 1
    summary = json.loads(last)
    assert set(summary) == SUMMARY
    assert summary["ranks"] == 2
    assert (summary["framework"], summary["model"]) == (framework, "mlp")
    config = built.config(root, f"framework.name={framework}")
    written = read_columns(config.table("domain_parameters"), ["domain_id"])
    snapshot = take_snapshot(config)
    assert sorted(written["domain_id"].tolist()) == snapshot.domains.domain_id[snapshot.domains.head].tolist()
    if framework == "joint_subspace":
        assert_directions_are_those_of_one_rank(config, snapshot, summary["best_epoch"])


def assert_directions_are_those_of_one_rank(config, snapshot, best_epoch):
    shared = load_theta(model_path(config, shared_version(config, snapshot.version)), config)
    alone = gather_adapter(*shared, Workers(config=config, snapshot=snapshot, ranks=Ranks())).directions
    name = shared_version(config, snapshot.version)
    folder = model_path(config, specific_version(config, name, trained_state(best_epoch)))
    of_two = Adapter.load(folder, *shared, adaptation_settings(config)).directions
    assert alone.shape == (12, sum(value.numel() for value in shared[1].dense.values()))
    assert torch.allclose(of_two.T @ of_two, alone.T @ alone, rtol=0, atol=1e-6)  # an axis may point either way


def test_a_mistake_under_the_launcher_is_one_line_and_exit_2(built):
    settings = ("--config", built.config_path, "training.epoch=3")
    done = horovodrun("-np", "2", sys.executable, "training/train.py", *settings)
    assert done.returncode == 2
    assert 'config key "training.epoch" (command line) does not exist: did you mean "training.epochs"?' in done.stderr
    assert "Traceback" not in done.stderr


def test_more_ranks_than_slots_is_told_at_once(built):
    done = horovodrun("-np", "3", "-H", "localhost:2", sys.executable, "training/train.py")
    assert done.returncode == 2
    assert "-np 3 asks for more ranks than the 2 slots of localhost:2" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_names_are_those_of_the_registries():
    assert set(framework_names.SHARED) == set(SHARED)
    assert {part for name in framework_names.SPECIFIC if name != "none" for part in name.split("_")} == set(SPECIFIC)


@pytest.mark.parametrize("specific", framework_names.SPECIFIC)
@pytest.mark.parametrize("shared", framework_names.SHARED)
def test_every_pair_has_a_name_that_gives_it_back(shared, specific):
    name = framework_names.framework_name(shared, specific)
    assert framework_names.framework_pair(name) == (shared, specific)


def test_the_names_of_the_papers_stand_for_pairs():
    for shared, specific in framework_names.PAPER_NAMES.values():
        assert shared in framework_names.SHARED
        assert specific in framework_names.SPECIFIC
