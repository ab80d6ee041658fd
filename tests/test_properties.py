"""What holds of the pure functions for any input."""

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
PAIRS = st.sets(st.tuples(SMALL, SMALL, st.integers(0, 9)), min_size=1, max_size=60)  # of domain, user and item


def columns_of(rows):
    return np.array(sorted(rows), np.int64).reshape(len(rows), -1).T


@given(SEEDS, SHARES, PAIRS, st.data())
def test_a_split_follows_from_the_row_and_its_group_and_not_from_the_order(seed, shares, pairs, data):
    domains, users, items = columns_of(pairs)
    labels = np.array(data.draw(st.lists(st.sampled_from([0, 1]), min_size=len(pairs), max_size=len(pairs))))
    split = split_rows(seed, shares, domains, users, items, labels)
    for group in set(zip(domains.tolist(), labels.tolist(), strict=True)):
        own = split[(domains == group[0]) & (labels == group[1])]
        wanted = [int(len(own) * share + 1e-9) for share in shares[1:]]
        assert [(own == 1).sum(), (own == 2).sum()] == wanted
    order = np.array(data.draw(st.permutations(range(len(pairs)))))
    again = split_rows(seed, shares, domains[order], users[order], items[order], labels[order])
    assert again.tolist() == split[order].tolist()


@given(SEEDS, SHARES, PAIRS, st.data())
def test_a_row_that_has_a_split_keeps_it_and_none_stays_without(seed, shares, pairs, data):
    domains, users, items = columns_of(pairs)
    kept = st.lists(st.sampled_from([OPEN, 0, 1, 2]), min_size=len(pairs), max_size=len(pairs))
    given_splits = np.array(data.draw(kept), np.int8)
    split = split_rows(seed, shares, domains, users, items, np.ones(len(pairs)), given_splits)
    assert set(split.tolist()) <= {0, 1, 2}
    assert (split == given_splits)[given_splits != OPEN].all()


@given(SEEDS, PAIRS, st.sampled_from([0.05, 0.21, 0.5, 1.0]), st.data())
def test_negatives_are_never_positives_never_twice_and_as_many_as_due(seed, pairs, ratio, data):
    pool = np.arange(12, dtype=np.int64)
    pools = {domain: pool for domain in {pair[0] for pair in pairs}}

    def draw(rows):
        domains, users, items = (np.array(column, np.int64) for column in zip(*rows, strict=True))
        drawn = draw_negatives(seed, domains, users, items, np.full(len(rows), ratio), pools)
        return list(zip(*(column.tolist() for column in drawn), strict=True))

    negatives = draw(sorted(pairs))
    assert len(set(negatives)) == len(negatives)
    assert not set(negatives) & pairs
    liked, due = Counter(pair[:2] for pair in pairs), Counter(pair[:2] for pair in negatives)
    assert all(due[user] == min(int(count / ratio), len(pool) - count) for user, count in liked.items())
    assert sorted(draw(data.draw(st.permutations(sorted(pairs))))) == sorted(negatives)


@given(st.integers(1, 3000), SEEDS)
def test_a_keyed_permutation_hits_every_place_once(size, key):
    places = permute(np.arange(size), np.full(size, size), np.full(size, hash_keys(key)))
    assert sorted(places.tolist()) == list(range(size))


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([-2.0, -0.5, 0.0, 0.5, 1e-300, 3.0, 1e300]), st.integers(0, 1)),
        max_size=60,
    )
)
def test_the_auc_of_each_domain_is_scikit_learns_or_undefined(rows):
    domains, scores, labels = np.array(rows, np.float64).reshape(-1, 3).T
    found = domain_auc(domains.astype(int), scores, labels)
    assert found.rows.sum() == len(rows)
    for domain, auc in zip(found.domain_id, found.auc, strict=True):
        own = domains == domain
        if len(set(labels[own])) < 2:
            assert np.isnan(auc)
        else:
            assert abs(auc - roc_auc_score(labels[own], scores[own])) < 1e-12


WEIGHTS = st.dictionaries(st.integers(0, 500), st.integers(0, 10_000), min_size=1, max_size=50)


@given(WEIGHTS, st.integers(1, 6), SEEDS)
def test_every_bucket_goes_to_one_share_and_loads_are_even(weights, shares, seed):
    dealt = balance(weights, shares, np.random.default_rng(seed))
    assert sorted(key for share in dealt for key in share) == sorted(weights)
    loads = [sum(weights[key] for key in share) for share in dealt]
    assert max(loads) - min(loads) <= max(weights.values())


@given(WEIGHTS, st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**31), st.integers(1, 99))
def test_an_epoch_reads_every_bucket_once_and_ranks_have_as_many_rounds(weights, ranks, rounds, seed, epoch):
    plan = plan_epoch(weights, ranks, rounds, seed, epoch)
    assert [len(of_rank) for of_rank in plan] == [rounds] * ranks
    assert sorted(bucket for of_rank in plan for buckets in of_rank for bucket in buckets) == sorted(weights)


@given(PAIRS, st.integers(1, 12))
def test_patches_hold_every_row_once_in_order_and_few_ids(pairs, most):
    domains, users, items = columns_of(pairs)
    rows = {"domain_id": domains, "user_id": users, "item_id": items, "label": np.zeros(len(domains))}
    parts = cut_to_fit(rows, {"user_id": ("user_id",), "item_id": ("item_id",)}, most)
    for name, column in rows.items():
        assert np.concatenate([part[name] for part in parts]).tolist() == column.tolist()
    for part in parts:
        ids = len(set(part["user_id"].tolist())) + len(set(part["item_id"].tolist()))
        assert ids <= most or len(part["label"]) == 1
