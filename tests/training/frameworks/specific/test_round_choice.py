import numpy as np

from training.frameworks.specific.round_choice import choose_rounds, size_groups


def test_groups_hold_domains_of_similar_size():
    rows = np.array([5, 900, 7, 850, 6, 910])
    assert size_groups(rows, 3).tolist() == [0, 1, 0, 1, 0, 1]
    assert set(size_groups(rows, 200)) == {0}


def test_group_keeps_only_rounds_with_a_significant_gain():
    auc = np.array([0.5, 0.5, 0.5, 0.5])
    gain = np.stack([auc, auc + [0.02, 0.01, 0.03, 0.02], auc + [0.04, 0.03, 0.05, 0.04]], axis=1)
    loss = np.stack([auc, auc - 0.01, auc - 0.02], axis=1)
    noise = np.stack([auc, auc + [0.2, -0.19, 0.1, -0.1], auc - 0.1], axis=1)
    groups = np.repeat([0, 1, 2], 4)
    assert choose_rounds(groups, np.concatenate([gain, loss, noise])) == {0: 2, 1: 0, 2: 0}


def test_domains_without_an_auc_are_ignored():
    auc = np.array([[0.5, 0.6], [0.5, 0.62], [np.nan, np.nan], [np.nan, np.nan]])
    assert choose_rounds(np.array([0, 0, 0, 1]), auc) == {0: 1, 1: 0}
