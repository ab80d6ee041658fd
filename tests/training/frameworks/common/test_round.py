import numpy as np

from training.frameworks.common.round import in_groups


def test_single_batch_at_the_end_joins_the_group_before():
    batches = [np.array([index]) for index in range(5)]
    assert [[int(rows[0]) for rows in group] for group in in_groups(batches, 2)] == [[0, 1], [2, 3, 4]]
    assert len(in_groups(batches[:1], 2)) == 1
    assert in_groups([], 2) == []
