import numpy as np

from training.parameters.row_initialization import draw_rows


def test_initial_rows_are_normal_with_the_given_deviation():
    rows = draw_rows(np.arange(20_000), 4, 0.05, key=1)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows.mean(0), 0, atol=0.002)
    np.testing.assert_allclose(rows.std(0), 0.05, rtol=0.03)
    np.testing.assert_allclose(np.corrcoef(rows.T), np.eye(4), atol=0.03)
    assert 0.94 < (np.abs(rows) < 0.1).mean() < 0.97
