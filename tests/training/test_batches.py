import numpy as np
import pytest
import torch

from training.batches import Patch, domain_walk, shuffled_batches

DOMAINS = np.repeat([3, 5, 6, 9], [6, 1, 2, 3])


@pytest.fixture
def patch():
    columns = {
        "domain_id": DOMAINS.astype(np.int32),
        "user_id": np.arange(12) * 10,
        "item_id": np.arange(12) % 4,
        "label": np.zeros(12, np.float32),
    }
    return Patch(
        columns, {name: (name,) for name in ("user_id", "item_id", "domain_id")}, torch.device("cpu"), torch.float32
    )


def flat(units):
    return np.concatenate([rows for unit in units for rows in unit])


@pytest.mark.parametrize("pack", [True, False])
def test_a_walk_visits_every_row_once(patch, pack):
    assert sorted(flat(domain_walk(patch, 4, pack, np.random.default_rng(0)))) == list(range(12))


def test_batches_of_a_large_domain_are_pure_and_small_domains_are_packed_whole(patch):
    units = domain_walk(patch, 4, True, np.random.default_rng(0))
    large = [unit for unit in units if 3 in DOMAINS[unit[0]]]
    assert [[len(rows) for rows in unit] for unit in large] == [[4, 2]]
    packs = [set(DOMAINS[rows]) for unit in units for rows in unit if 3 not in DOMAINS[rows]]
    assert sorted(domain for pack in packs for domain in pack) == [5, 6, 9]
    assert len(packs) == 2
    assert all(len(rows) <= 4 for unit in units for rows in unit)


def test_without_packing_every_domain_is_a_unit_of_its_own(patch):
    units = domain_walk(patch, 4, False, np.random.default_rng(0))
    assert sorted(sorted(set(DOMAINS[flat([unit])])) for unit in units) == [[3], [5], [6], [9]]


def test_the_generator_decides_the_walk(patch):
    walks = [flat(domain_walk(patch, 4, True, np.random.default_rng(seed))).tolist() for seed in (0, 0, 1)]
    assert walks[0] == walks[1] != walks[2]


def test_shuffled_batches_hold_every_row_once_and_the_last_may_be_short():
    batches = shuffled_batches(10, 4, np.random.default_rng(0))
    assert [len(rows) for rows in batches] == [4, 4, 2]
    assert sorted(np.concatenate(batches)) == list(range(10))


def test_local_ids_name_the_rows_of_the_patch(patch):
    rows = np.array([7, 2])
    local, whole = patch.batch(rows, local=True), patch.batch(rows)
    for name in ("user_id", "item_id", "domain_id"):
        assert torch.equal(patch.ids[name][local.features[name]], whole.features[name])


def test_an_empty_patch_has_no_batches():
    columns = {name: np.array([], np.int64) for name in ("domain_id", "user_id", "item_id", "label")}
    empty = Patch(columns, {"user_id": ("user_id",)}, torch.device("cpu"), torch.float32)
    assert domain_walk(empty, 4, True, np.random.default_rng(0)) == []
