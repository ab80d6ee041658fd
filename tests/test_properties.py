"""Tests properties of pure functions on random inputs."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from pipelines.samples.negatives import draw_negatives
from pipelines.samples.splits import OPEN, split_rows
from training.data.bucket_plan import balance, plan_epoch
from training.data.patch import cut_to_fit
from training.hashing import hash_keys, permute
from training.metrics import domain_auc

settings.register_profile("mamdr", deadline=None, derandomize=True, max_examples=150, database=None)
settings.load_profile("mamdr")

SEEDS = st.integers(0, 2**63 - 1)
SHARES = st.sampled_from([[0.6, 0.2, 0.2], [0.7, 0.2, 0.1], [0.8, 0.0, 0.2], [1.0, 0.0, 0.0], [0.34, 0.33, 0.33]])
SMALL = st.integers(0, 4)
PAIRS = st.sets(st.tuples(SMALL, SMALL, st.integers(0, 9)), min_size=1, max_size=60)  # (domain, user, item)


def columns_of(rows):
    """Returns the columns of rows of integers, sorted."""
    return np.array(sorted(rows), np.int64).reshape(len(rows), -1).T


@given(SEEDS, SHARES, PAIRS, st.data())
def test_splits_depend_on_rows_and_not_on_their_order(seed, shares, pairs, data):
    domains, users, items = columns_of(pairs)
    labels = np.array(data.draw(st.lists(st.sampled_from([0, 1]), min_size=len(pairs), max_size=len(pairs))))
    split = split_rows(seed, shares, domains, users, items, labels)
    for group in set(zip(domains.tolist(), labels.tolist(), strict=True)):
        split_of_group = split[(domains == group[0]) & (labels == group[1])]
        expected = [int(len(split_of_group) * share + 1e-9) for share in shares[1:]]
        assert [(split_of_group == 1).sum(), (split_of_group == 2).sum()] == expected
    order = np.array(data.draw(st.permutations(range(len(pairs)))))
    reordered = split_rows(seed, shares, domains[order], users[order], items[order], labels[order])
    assert reordered.tolist() == split[order].tolist()


@given(SEEDS, SHARES, PAIRS, st.data())
def test_rows_keep_a_given_split_and_the_others_get_one(seed, shares, pairs, data):
    domains, users, items = columns_of(pairs)
    splits = st.lists(st.sampled_from([OPEN, 0, 1, 2]), min_size=len(pairs), max_size=len(pairs))
    given_splits = np.array(data.draw(splits), np.int8)
    split = split_rows(seed, shares, domains, users, items, np.ones(len(pairs)), given_splits)
    assert set(split.tolist()) <= {0, 1, 2}
    assert (split == given_splits)[given_splits != OPEN].all()


@given(SEEDS, PAIRS, st.sampled_from([0.05, 0.21, 0.5, 1.0]), st.data())
def test_negatives_are_distinct_no_positives_and_as_many_as_the_ratio_asks_for(seed, pairs, ratio, data):
    pool = np.arange(12, dtype=np.int64)
    pools = {domain: pool for domain in {pair[0] for pair in pairs}}

    def draw(rows):
        domains, users, items = (np.array(column, np.int64) for column in zip(*rows, strict=True))
        drawn = draw_negatives(seed, domains, users, items, np.full(len(rows), ratio), pools)
        return list(zip(*(column.tolist() for column in drawn), strict=True))

    negatives = draw(sorted(pairs))
    assert len(set(negatives)) == len(negatives)
    assert not set(negatives) & pairs
    positives_of, negatives_of = Counter(pair[:2] for pair in pairs), Counter(pair[:2] for pair in negatives)
    for user, count in positives_of.items():
        assert negatives_of[user] == min(int(count / ratio), len(pool) - count)
    assert sorted(draw(data.draw(st.permutations(sorted(pairs))))) == sorted(negatives)


@given(st.integers(1, 3000), SEEDS)
def test_permute_maps_to_every_index_once(size, key):
    indices = permute(np.arange(size), np.full(size, size), np.full(size, hash_keys(key)))
    assert sorted(indices.tolist()) == list(range(size))


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([-2.0, -0.5, 0.0, 0.5, 1e-300, 3.0, 1e300]), st.integers(0, 1)),
        max_size=60,
    )
)
def test_domain_auc_equals_scikit_learn_and_is_nan_for_one_class(rows):
    domains, scores, labels = np.array(rows, np.float64).reshape(-1, 3).T
    result = domain_auc(domains.astype(int), scores, labels)
    assert result.rows.sum() == len(rows)
    for domain, auc in zip(result.domain_id, result.auc, strict=True):
        in_domain = domains == domain
        if len(set(labels[in_domain])) < 2:
            assert np.isnan(auc)
        else:
            assert abs(auc - roc_auc_score(labels[in_domain], scores[in_domain])) < 1e-12


WEIGHTS = st.dictionaries(st.integers(0, 500), st.integers(0, 10_000), min_size=1, max_size=50)


@given(WEIGHTS, st.integers(1, 6), SEEDS)
def test_balance_assigns_each_bucket_once_and_evens_the_loads(weights, shares, seed):
    groups = balance(weights, shares, np.random.default_rng(seed))
    assert sorted(bucket for group in groups for bucket in group) == sorted(weights)
    loads = [sum(weights[bucket] for bucket in group) for group in groups]
    assert max(loads) - min(loads) <= max(weights.values())


@given(WEIGHTS, st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**31), st.integers(1, 99))
def test_plan_epoch_reads_each_bucket_once_and_gives_all_ranks_equally_many_rounds(weights, ranks, rounds, seed, epoch):
    plan = plan_epoch(weights, ranks, rounds, seed, epoch)
    assert [len(of_rank) for of_rank in plan] == [rounds] * ranks
    assert sorted(bucket for of_rank in plan for buckets in of_rank for bucket in buckets) == sorted(weights)


@given(PAIRS, st.integers(1, 12))
def test_cut_to_fit_keeps_all_rows_in_order_and_limits_the_ids_of_a_patch(pairs, max_ids):
    domains, users, items = columns_of(pairs)
    rows = {"domain_id": domains, "user_id": users, "item_id": items, "label": np.zeros(len(domains))}
    patches = cut_to_fit(rows, {"user_id": ("user_id",), "item_id": ("item_id",)}, max_ids)
    for name, column in rows.items():
        assert np.concatenate([patch[name] for patch in patches]).tolist() == column.tolist()
    for patch in patches:
        ids = len(set(patch["user_id"].tolist())) + len(set(patch["item_id"].tolist()))
        assert ids <= max_ids or len(patch["label"]) == 1
