"""Patches with local ids, and rows cut into pieces that fit."""

import numpy as np
import pytest
import torch

from training.column_names import IDS
from training.data.patch import Patch, cut_to_fit

FEATURES_OF = {"user_id": ("user_id",), "item_id": ("item_id", "seen")}


def test_local_ids_are_indices_into_the_ids_of_the_patch():
    columns = {**{name: np.array([4, 4, 9, 7]) for name in IDS}, "label": np.zeros(4, np.float32)}
    columns["domain_id"] = np.array([1, 1, 2, 5])
    patch = Patch(columns, {name: (name,) for name in IDS}, torch.device("cpu"), torch.float32)
    rows = np.array([3, 0])
    local, original = patch.batch(rows, local=True), patch.batch(rows)
    for name in IDS:
        assert torch.equal(patch.ids[name][local.features[name]], original.features[name])


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
def test_pieces_fit_and_hold_every_row_in_order(most, seed):
    columns = log_of(40, seed)
    pieces = cut_to_fit(columns, FEATURES_OF, most)
    assert all(ids_in(piece) <= most for piece in pieces)
    for name, column in columns.items():
        np.testing.assert_array_equal(np.concatenate([piece[name] for piece in pieces]), column)
    assert len(pieces) == 1 or most < 100


def test_cuts_lie_between_domains_if_a_domain_fits():
    columns = {
        "domain_id": np.array([0, 0, 1, 1, 1]),
        "user_id": np.array([7, 8, 7, 9, 5]),
        "item_id": np.array([1, 1, 2, 3, 4]),
        "label": np.zeros(5, np.float32),
    }
    features_of = {"user_id": ("user_id",), "item_id": ("item_id",)}
    assert [len(piece["label"]) for piece in cut_to_fit(columns, features_of, 4)] == [2, 2, 1]
    assert [len(piece["label"]) for piece in cut_to_fit(columns, features_of, 1)] == [1] * 5


def test_no_rows_give_no_pieces():
    assert cut_to_fit({name: column[:0] for name, column in log_of(4, 0).items()}, FEATURES_OF, 4) == []
