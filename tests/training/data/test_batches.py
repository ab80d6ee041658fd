import numpy as np
import pytest
import torch

from training.data.domain_batches import domain_walk, shuffled_batches
from training.data.patch import Patch, cut_to_fit

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


FEATURES_OF = {"user_id": ("user_id",), "item_id": ("item_id", "seen")}


def log_of(rows, seed):
    rng = np.random.default_rng(seed)
    return {
        "domain_id": np.sort(rng.integers(5, size=rows)),
        "user_id": rng.integers(12, size=rows),
        "item_id": rng.integers(9, size=rows),
        "seen": rng.integers(9, size=(rows, 2)),
        "label": np.zeros(rows, np.float32),
    }


def ids_in(columns):
    items = np.append(columns["item_id"], columns["seen"])
    return len(np.unique(columns["user_id"])) + len(np.unique(items))


@pytest.mark.parametrize("most", [4, 7, 12, 100])
@pytest.mark.parametrize("seed", range(3))
def test_parts_fit_and_hold_every_row_once_and_in_order(most, seed):
    columns = log_of(40, seed)
    parts = cut_to_fit(columns, FEATURES_OF, most)
    assert all(ids_in(part) <= most for part in parts)
    for name, column in columns.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), column)
    assert len(parts) == 1 or most < 100


def test_a_cut_is_between_domains_where_one_fits():
    columns = {
        "domain_id": np.array([0, 0, 1, 1, 1]),
        "user_id": np.array([7, 8, 7, 9, 5]),
        "item_id": np.array([1, 1, 2, 3, 4]),
        "label": np.zeros(5, np.float32),
    }
    features_of = {"user_id": ("user_id",), "item_id": ("item_id",)}
    assert [len(part["label"]) for part in cut_to_fit(columns, features_of, 4)] == [2, 2, 1]
    assert [len(part["label"]) for part in cut_to_fit(columns, features_of, 1)] == [1] * 5


def test_no_rows_are_no_parts():
    assert cut_to_fit({name: column[:0] for name, column in log_of(4, 0).items()}, FEATURES_OF, 4) == []
