"""Tests the split of samples into train, val and test."""

import numpy as np
import pytest

from pipelines.samples.splits import SPLITS, split_rows
from training.hashing import hash_keys

SHARES = [0.6, 0.2, 0.2]


def split(shares, rows, seed=0):
    """Returns the split of each (domain, user, item, label) row."""
    return SPLITS[split_rows(seed, shares, *np.array(rows, np.int64).T)].tolist()


def rows_of(count, domain=0, label=1):
    return [(domain, user, user % 7, label) for user in range(count)]


def equal_hashes(seed, domains, *keys):
    """Replaces hash_keys by a function that gives all rows the same hash."""
    return np.zeros(len(domains), np.uint64)


def counts(splits):
    return [splits.count(name) for name in SPLITS]


@pytest.mark.parametrize(
    ("shares", "rows", "expected"),
    [
        (SHARES, 10, [6, 2, 2]),
        (SHARES, 12, [8, 2, 2]),
        (SHARES, 5, [3, 1, 1]),
        (SHARES, 4, [4, 0, 0]),
        (SHARES, 3, [3, 0, 0]),
        (SHARES, 2, [2, 0, 0]),
        (SHARES, 1, [1, 0, 0]),
        ([0.7, 0.2, 0.1], 10, [7, 2, 1]),
        ([0.7, 0.2, 0.1], 30, [21, 6, 3]),
        ([0.7, 0.2, 0.1], 1, [1, 0, 0]),
        ([0.42, 0.29, 0.29], 100, [42, 29, 29]),  # 100 * 0.29 is 28.999999999999996
        ([0.8, 0.0, 0.2], 10, [8, 0, 2]),
        ([1.0, 0.0, 0.0], 10, [10, 0, 0]),
    ],
)
def test_rows_are_split_by_shares_and_the_rest_goes_to_train(shares, rows, expected):
    assert counts(split(shares, rows_of(rows))) == expected


def test_each_domain_and_label_is_split_separately():
    groups = [rows_of(10), rows_of(5, label=0), rows_of(20, domain=1), rows_of(1, domain=2)]
    splits = iter(split(SHARES, [row for group in groups for row in group]))
    assert [counts([next(splits) for _ in group]) for group in groups] == [
        [6, 2, 2],
        [3, 1, 1],
        [12, 4, 4],
        [1, 0, 0],
    ]


@pytest.mark.parametrize("hashes", [hash_keys, equal_hashes])
def test_split_does_not_depend_on_the_order_of_rows(hashes, monkeypatch):
    monkeypatch.setattr("pipelines.samples.splits.hash_keys", hashes)
    rows = rows_of(50) + rows_of(30, label=0) + rows_of(9, domain=3)
    order = np.random.default_rng(0).permutation(len(rows))
    splits = split(SHARES, rows)
    assert split(SHARES, [rows[k] for k in order]) == [splits[k] for k in order]


def test_split_of_a_domain_does_not_depend_on_other_domains():
    assert split(SHARES, rows_of(20, domain=1) + rows_of(9, domain=0))[:20] == split(SHARES, rows_of(20, domain=1))


def test_another_seed_gives_another_split():
    assert split(SHARES, rows_of(50), seed=0) != split(SHARES, rows_of(50), seed=1)


def test_no_rows_give_no_splits():
    empty = np.array([], np.int64)
    assert split_rows(0, SHARES, empty, empty, empty, empty).tolist() == []
