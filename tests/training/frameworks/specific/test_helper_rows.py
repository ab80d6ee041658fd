import numpy as np

from tests.support.reference import random_rows
from training.frameworks.specific.helper_rows import HelperRows, choose_helper_domains

TRAIN = random_rows(60, seed=1)


def test_helpers_are_other_domains_drawn_without_replacement():
    helpers = HelperRows.of(TRAIN, 5, 0)
    for seed in range(20):
        drawn = helpers.domain_ids[helpers.draw(2, 3, np.random.default_rng(seed))]
        assert sorted(drawn) == [0, 1, 3]
    assert len(helpers.draw(2, 9, np.random.default_rng(0))) == 3


def test_helper_rows_do_not_depend_on_order_or_partitioning():
    shuffled = np.random.default_rng(0).permutation(60)
    expected = HelperRows.of(TRAIN, 5, 0)
    from_shuffled = HelperRows.of({name: column[shuffled] for name, column in TRAIN.items()}, 5, 0)
    halves = [HelperRows.of({n: c[half] for n, c in TRAIN.items()}, 5, 0) for half in (slice(0, 25), slice(25, 60))]
    from_halves = HelperRows.of({n: np.concatenate([half.columns[n] for half in halves]) for n in TRAIN}, 5, 0)
    for actual in (from_shuffled, from_halves):
        for name, column in expected.columns.items():
            assert np.array_equal(column, actual.columns[name])
    assert np.diff(expected.starts).max() <= 5


def test_saved_helper_rows_are_loaded_unchanged(tmp_path):
    saved = HelperRows.of(TRAIN, 5, 0)
    saved.save(tmp_path / "helpers.safetensors")
    loaded = HelperRows.load(tmp_path / "helpers.safetensors")
    assert loaded.starts.tolist() == saved.starts.tolist()
    assert loaded.domain_ids.tolist() == saved.domain_ids.tolist()
    for name, column in saved.columns.items():
        assert np.array_equal(column, loaded.columns[name])


def test_helper_domains_are_chosen_by_seed_up_to_a_bound():
    ids = np.arange(50)
    assert choose_helper_domains(ids, 99, 0).tolist() == ids.tolist()
    chosen = [choose_helper_domains(ids, 10, seed).tolist() for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(set(chosen[0])) == 10
