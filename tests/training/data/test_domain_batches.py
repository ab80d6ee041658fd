"""Batches over all domains and domain by domain."""

import numpy as np
import pytest
import torch

from training.column_names import IDS, ROW_ORDER
from training.data.domain_batches import domain_walk, shuffled_batches
from training.data.patch import Patch

DOMAINS = np.repeat([3, 5, 6, 9], [6, 1, 2, 3])


@pytest.fixture
def patch():
    columns = {
        "domain_id": DOMAINS.astype(np.int32),
        "user_id": np.arange(12) * 10,
        "item_id": np.arange(12) % 4,
        "label": np.zeros(12, np.float32),
    }
    return Patch(columns, {name: (name,) for name in IDS}, torch.device("cpu"), torch.float32)


def flat(units):
    return np.concatenate([rows for unit in units for rows in unit])


@pytest.mark.parametrize("pack", [True, False])
def test_a_walk_visits_every_row_once(patch, pack):
    assert sorted(flat(domain_walk(patch, 4, pack, np.random.default_rng(0)))) == list(range(12))


def test_large_domains_have_their_own_batches_and_small_ones_are_packed(patch):
    units = domain_walk(patch, 4, True, np.random.default_rng(0))
    large = [unit for unit in units if 3 in DOMAINS[unit[0]]]
    assert [[len(rows) for rows in unit] for unit in large] == [[4, 2]]
    packs = [set(DOMAINS[rows]) for unit in units for rows in unit if 3 not in DOMAINS[rows]]
    assert sorted(domain for pack in packs for domain in pack) == [5, 6, 9]
    assert len(packs) == 2
    assert all(len(rows) <= 4 for unit in units for rows in unit)


def test_without_packing_every_domain_is_a_unit(patch):
    units = domain_walk(patch, 4, False, np.random.default_rng(0))
    assert sorted(sorted(set(DOMAINS[flat([unit])])) for unit in units) == [[3], [5], [6], [9]]


def test_the_walk_depends_on_the_seed_only(patch):
    walks = [flat(domain_walk(patch, 4, True, np.random.default_rng(seed))).tolist() for seed in (0, 0, 1)]
    assert walks[0] == walks[1] != walks[2]


def test_shuffled_batches_hold_every_row_once():
    batches = shuffled_batches(10, 4, np.random.default_rng(0))
    assert [len(rows) for rows in batches] == [4, 4, 2]
    assert sorted(np.concatenate(batches)) == list(range(10))


def test_an_empty_patch_has_no_batches():
    columns = {name: np.array([], np.int64) for name in ROW_ORDER}
    empty = Patch(columns, {"user_id": ("user_id",)}, torch.device("cpu"), torch.float32)
    assert domain_walk(empty, 4, True, np.random.default_rng(0)) == []
