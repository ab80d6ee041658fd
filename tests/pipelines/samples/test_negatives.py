"""Tests the number of negatives, and how they are drawn."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from pipelines.samples.negatives import draw_negatives, negative_count_column, negative_counts

RATIOS = st.one_of(st.integers(1, 100).map(lambda percent: percent / 100), st.floats(0.001, 1))
DOMAINS = st.tuples(st.integers(0, 500), st.integers(0, 500), st.integers(500, 2000), RATIOS)


def draw(rows, ratio, pools, seed=0, taken=()):
    """Draws negatives for (domain, user, item) rows, none of them in `taken`; returns a sorted list of such rows."""
    domains, users, items = np.array(rows, np.int64).T
    ratios = np.full(len(rows), ratio)
    pools = {domain: np.arange(pool) for domain, pool in pools.items()}
    taken = np.array(taken, np.int64).reshape(-1, 3).T
    drawn = draw_negatives(seed, domains, users, items, ratios, pools, tuple(taken))
    return sorted(zip(*(column.tolist() for column in drawn), strict=True))


@pytest.mark.parametrize(
    ("positives", "ratio", "count"),
    [(1, 0.5, 2), (1, 0.32, 3), (1, 0.21, 4), (5, 0.32, 15), (3, 0.32, 9), (7, 0.21, 33), (5, 1.0, 5)],
)
def test_user_gets_int_of_positives_by_ratio(positives, ratio, count):
    rows = [(0, 4, item) for item in range(positives)]
    assert len(draw(rows, ratio, {0: 100})) == count


def test_count_is_capped_by_the_remaining_items():
    counts = negative_counts(np.array([3, 3]), np.array([3, 2]), np.array([10, 4]), np.array([0.5, 0.5]))
    assert counts.tolist() == [6, 2]


def test_user_gets_all_remaining_items_if_they_are_too_few():
    assert draw([(0, 1, 0), (0, 1, 3)], 0.2, {0: 5}) == [(0, 1, 1), (0, 1, 2), (0, 1, 4)]


def test_user_who_likes_every_item_gets_no_negatives():
    assert draw([(0, 1, 0), (0, 1, 1)], 0.2, {0: 2}) == []


@pytest.mark.parametrize("seed", range(5))
def test_negatives_are_drawn_without_replacement_and_never_a_positive(seed):
    rng = np.random.default_rng(seed)
    rows = {(int(d), int(u), int(i)) for d, u, i in rng.integers(0, [3, 20, 30], (300, 3))}
    negatives = draw(sorted(rows), 0.3, {0: 30, 1: 30, 2: 30}, seed)
    assert len(negatives) > 300
    assert len(set(negatives)) == len(negatives)
    assert not rows & set(negatives)


def test_no_positives_give_no_negatives():
    nothing = np.array([], np.int64)
    assert [len(column) for column in draw_negatives(0, nothing, nothing, nothing, nothing / 1, {0: [5]})] == [
        0,
        0,
        0,
    ]


def test_item_liked_in_one_domain_may_be_a_negative_in_another():
    assert draw([(0, 1, 0), (1, 1, 1)], 0.2, {0: 2, 1: 2}) == [(0, 1, 1), (1, 1, 0)]


def test_taken_items_are_excluded_for_that_user_and_domain_only():
    rows, taken = [(0, 1, 0), (0, 2, 0)], [(0, 1, 1), (0, 5, 2), (1, 2, 3), (0, 1, 3)]
    assert draw(rows, 0.1, {0: 4}, taken=taken) == [(0, 1, 2), (0, 2, 1), (0, 2, 2), (0, 2, 3)]


def test_repeated_positive_counts_twice_and_blocks_one_item():
    assert len(draw([(0, 1, 0), (0, 1, 0)], 0.5, {0: 100})) == 4
    assert draw([(0, 1, 0), (0, 1, 0)], 0.5, {0: 3}) == [(0, 1, 1), (0, 1, 2)]


def test_negatives_do_not_depend_on_the_order_of_rows():
    rows = [(d, u, i) for d in range(2) for u in range(5) for i in range(u + 1)]
    shuffled = [rows[k] for k in np.random.default_rng(1).permutation(len(rows))]
    assert draw(rows, 0.3, {0: 40, 1: 50}) == draw(shuffled, 0.3, {0: 40, 1: 50})


def test_negatives_do_not_depend_on_other_users():
    alone = draw([(0, 7, 3)], 0.1, {0: 50})
    among = draw([(0, 6, 3), (0, 7, 3), (1, 7, 4)], 0.1, {0: 50, 1: 9})
    assert alone == [row for row in among if row[:2] == (0, 7)]


def test_another_seed_gives_other_negatives():
    assert draw([(0, 7, 3)], 0.1, {0: 500}, seed=0) != draw([(0, 7, 3)], 0.1, {0: 500}, seed=1)


def test_negatives_are_uniform_over_the_pool():
    users, pool = 4000, 20
    rows = [(0, user, 0) for user in range(users)]
    drawn = np.array(draw(rows, 0.5, {0: pool}))[:, 2]
    counts = np.bincount(drawn, minlength=pool)[1:]
    expected = 2 * users / (pool - 1)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 45  # 18 degrees of freedom: one seed in a thousand exceeds 42.3


def test_every_pair_of_negatives_is_equally_likely():
    rows = [(0, user, 0) for user in range(4000)]
    drawn = np.array(draw(rows, 0.5, {0: 5}))[:, 2].reshape(-1, 2)
    counts = np.unique(drawn, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert ((counts - 4000 / 6) ** 2 / (4000 / 6)).sum() < 20.5  # 5 degrees of freedom


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(DOMAINS, min_size=1, max_size=200))
def test_plan_and_sampler_count_the_same_negatives(spark, rows):
    positives, liked, pool, ratio = (np.array(column) for column in zip(*rows, strict=True))
    schema = "positives BIGINT, liked BIGINT, pool BIGINT, ratio DOUBLE"
    planned = spark.createDataFrame(rows, schema).select(
        negative_count_column(F.col("positives"), F.col("liked"), F.col("pool"), F.col("ratio")).alias("count")
    )
    assert [row["count"] for row in planned.collect()] == negative_counts(positives, liked, pool, ratio).tolist()
