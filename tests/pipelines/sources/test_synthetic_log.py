"""Tests the synthetic log: it does not depend on order, holds every id, and has a known best AUC."""

from dataclasses import asdict

import numpy as np
import pytest

from pipelines import generate_taobao_online
from pipelines.build_domains import build_domains
from pipelines.engine import tables
from pipelines.sources import synthetic_tables
from pipelines.sources.synthetic_log import (
    BIAS,
    ITEM,
    USER,
    Shape,
    draw_log,
    gather,
    normal,
    power_law,
    rows_of,
    scatter,
    true_logit,
    vectors,
)
from training.column_names import KEYS
from training.config import DataConfig, SyntheticConfig, load_config
from training.errors import UserError
from training.metrics import domain_auc

SHAPE = Shape(domains=30, users=400, items=90, samples=5000)


def draw(rows=None, seed=0, conflict=0.5, noise=0.0, shape=SHAPE):
    return draw_log(np.arange(shape.samples) if rows is None else rows, shape, seed, conflict, noise)


def test_samples_do_not_depend_on_order_or_other_samples():
    whole, order = draw(), np.random.default_rng(0).permutation(SHAPE.samples)
    for name, values in vars(draw(order)).items():
        np.testing.assert_array_equal(values, getattr(whole, name)[order])
    np.testing.assert_array_equal(draw(np.array([77])).logit, whole.logit[[77]])
    assert (draw(seed=1).label != whole.label).any()


def test_all_domains_users_and_items_occur():
    log = draw()
    np.testing.assert_array_equal(np.bincount(log.domain), np.diff(SHAPE.ends, prepend=0))
    assert np.array_equal(np.unique(log.user), np.arange(SHAPE.users))
    assert np.array_equal(np.unique(log.item), np.arange(SHAPE.items))


@pytest.mark.parametrize(("samples", "domains"), [(1, 1), (7, 7), (8, 3)])
def test_smallest_log_has_a_sample_per_domain(samples, domains):
    log = draw(shape=Shape(domains, 1, 1, samples))
    assert np.array_equal(np.unique(log.domain), np.arange(domains))


def test_scale_keeps_all_domains_or_is_refused():
    synthetic = SyntheticConfig(domains=100, users=2000, items=500, samples=10_000)
    for scale, users in ((1.0, 2000), (0.1, 200), (0.01, 20)):
        shape = Shape.of(DataConfig(scale=scale, synthetic=synthetic))
        assert (shape.domains, shape.users, shape.samples) == (100, users, round(10_000 * scale))
    with pytest.raises(UserError, match=r"data.scale 0.001 gives 10 samples for 100 domains"):
        Shape.of(DataConfig(scale=0.001, synthetic=synthetic))


def test_full_log_has_the_size_given_in_the_paper():
    shape = Shape.of(DataConfig())
    assert (shape.domains, shape.ends[-1]) == (69_102, 420_097_203 + 23_340_352 + 46_415_298)
    assert np.diff(shape.ends).min() >= 1


@pytest.mark.parametrize("samples", [1, 2, 30, 4096, 9973, 2**31 - 1])
def test_gather_inverts_scatter(samples):
    rows = np.unique(np.linspace(0, samples - 1, 10_000).astype(np.int64))
    positions = scatter(rows, samples, 3, 0)
    assert len(np.unique(positions)) == len(rows)
    assert np.array_equal(gather(positions, samples, 3, 0), rows)


def test_rows_of_domains_have_these_domains():
    domain = draw().domain
    for domains in (range(0, 1), range(3, 9), range(29, 30)):
        assert np.array_equal(np.sort(rows_of(domains, SHAPE, 0)), np.flatnonzero(np.isin(domain, domains)))


def test_power_law_ranks_are_in_range_and_decreasing():
    ranks = power_law(np.random.default_rng(0).uniform(size=20_000), np.int64(50), 0.7)
    counts = np.bincount(ranks, minlength=50)
    assert len(counts) == 50
    assert counts[0] > 3 * counts[10] > 3 * counts[49] > 0


def test_logit_follows_its_formula():
    rng = np.random.default_rng(0)
    domain, user, item = rng.integers(5, size=200), rng.integers(400, size=200), rng.integers(90, size=200)
    shared, of_domain, mixed = (true_logit(domain, user, item, 7, conflict) for conflict in (0.0, 1.0, 0.36))
    bias = np.array([normal(7, BIAS, d) for d in range(5)])[domain] / 2 - 1
    np.testing.assert_allclose(mixed - bias, 0.8 * (shared - bias) + 0.6 * (of_domain - bias), atol=1e-12)
    pair = np.einsum("ni,nj->nij", vectors(USER, user, 7), vectors(ITEM, item, 7)).reshape(200, -1)
    form, *_ = np.linalg.lstsq(pair, (shared - bias) / 2, rcond=None)
    np.testing.assert_allclose(pair @ form, (shared - bias) / 2, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(form), 1, atol=1e-9)


def test_forms_have_unit_variance_and_vectors_are_normal():
    log = draw(shape=Shape(2000, 3000, 3000, 40_000), conflict=0.5)
    assert np.std(log.logit) == pytest.approx(np.sqrt(4 + 0.25), rel=0.1)
    assert np.std(normal(0, 1, np.arange(10_000))) == pytest.approx(1, abs=0.03)


def test_noise_flips_its_share_of_labels():
    flipped = draw().label != draw(noise=0.2).label
    assert flipped.mean() == pytest.approx(0.2, abs=0.02)


def test_log_of_the_user_is_not_overwritten(spark, tmp_path):
    path = f"{tmp_path}/log"
    spark.createDataFrame([("u", "i", "d")], "user string, item string, domain string").write.format("delta").save(path)
    config = load_config("conf/taobao_online.yaml", [f"root={tmp_path}", f"data.path={path}", "data.scale=0.001"])
    with pytest.raises(UserError, match="not a synthetic log"):
        generate_taobao_online.generate(spark, config)


def test_job_writes_a_log_and_its_best_auc(spark, tmp_path, monkeypatch):
    def config(*settings):
        small = [f"data.synthetic.{key}={value}" for key, value in asdict(SHAPE).items()]
        root = [f"root={tmp_path}", f"data.path={tmp_path}/log", "data.bucket_rows=2000"]
        return load_config("conf/taobao_online.yaml", [*small, *root, *settings])

    summary = generate_taobao_online.generate(spark, config())
    log = tables.read(spark, f"{tmp_path}/log").toPandas()
    drawn = draw()
    expected_rows = sorted(zip(drawn.user, drawn.item, drawn.domain, drawn.label, drawn.logit, strict=True))
    numbers = (log[name].str[1:].astype(int) for name in KEYS)
    assert sorted(zip(*numbers, log["label"], log["logit"], strict=True)) == expected_rows

    truth = tables.read(spark, config().table("truth")).toPandas().set_index("domain_key")
    expected = domain_auc(drawn.domain, drawn.logit, drawn.label)
    for domain, auc, rows in zip(expected.domain_id, expected.auc, expected.rows, strict=True):
        assert truth.loc[f"d{domain}", "rows"] == rows
        np.testing.assert_allclose(truth.loc[f"d{domain}", "best_auc"], auc, rtol=1e-12)
    assert summary["best_mean_domain_auc"] == pytest.approx(expected.mean, abs=1e-12)
    assert summary["positives"] == drawn.label.sum()

    monkeypatch.setattr(synthetic_tables, "ROWS_PER_TASK", 700)
    generate_taobao_online.generate(spark, config())
    again = tables.read(spark, f"{tmp_path}/log").toPandas()
    assert sorted(map(tuple, again.to_numpy())) == sorted(map(tuple, log.to_numpy()))

    built = build_domains(spark, config())
    assert built["rows_in"] == built["samples"] + built["rows_duplicate"] == SHAPE.samples
    assert (built["domains"], built["users"]) == (SHAPE.domains, SHAPE.users)
    vector = tables.read(spark, config().table("item_vectors")).where("key = 'i7'").first()["vector"]
    np.testing.assert_allclose(vector, vectors(ITEM, np.array([7]), 0)[0], rtol=1e-6)
