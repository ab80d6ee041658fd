"""Tests that training writes theta^i of each of its domains exactly once."""

import pytest

from training.data.delta_files import read_columns
from training.train import train


@pytest.mark.parametrize("settings", [[], ["framework.interleave=true"]], ids=["heads", "interleaved"])
def test_restarted_run_adds_only_missing_domains(spark, built, tmp_path, settings):
    config = built.config("framework.name=mamdr", built.copy(tmp_path), *settings)
    path = config.table("domain_parameters")
    train(config)
    before = sorted(read_columns(path, ["domain_id"])["domain_id"].tolist())
    assert len(before) == (12 if settings else 2)
    spark.sql(f"DELETE FROM delta.`{path}` WHERE domain_id = {before[0]}")
    for _ in range(2):
        train(config)
        assert sorted(read_columns(path, ["domain_id"])["domain_id"].tolist()) == before
