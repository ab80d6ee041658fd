"""The AUC of each domain, compared with scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from training.metrics import domain_auc


@pytest.mark.parametrize("values", [1000, 3], ids=["few ties", "many ties"])
def test_auc_of_each_domain_equals_scikit_learns(values):
    rng = np.random.default_rng(0)
    domains, labels = rng.integers(9, size=700), rng.integers(2, size=700)
    scores = rng.integers(values, size=700) / values
    result = domain_auc(domains, scores, labels)
    expected = [roc_auc_score(labels[domains == domain], scores[domains == domain]) for domain in range(9)]
    np.testing.assert_allclose(result.auc, expected, rtol=0, atol=1e-12)
    assert result.rows.tolist() == np.bincount(domains).tolist()


def test_domain_with_one_class_is_undefined_and_not_in_the_mean():
    scores = np.array([0.1, 0.9, 0.6, 0.6, 0.3, 0.4])
    result = domain_auc(np.array([5, 5, 6, 6, 8, 8]), scores, np.array([0, 1, 0, 1, 1, 1]))
    assert result.domain_id.tolist() == [5, 6, 8]
    assert result.defined.tolist() == [True, True, False]
    assert result.mean == (1 + 1 / 2) / 2


def test_mean_is_nan_if_no_domain_has_both_classes():
    assert np.isnan(domain_auc(np.array([1]), np.array([0.5]), np.array([1])).mean)
