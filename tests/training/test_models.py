"""Each backbone against its formula in NumPy, and its parameter count by hand."""

import numpy as np
import pytest
import torch

from tests.training.reference import SCHEMA, SIZES, small_model
from training.config import ModelConfig
from training.errors import UserError
from training.models import build_model

FEATURES = {
    "user_id": torch.tensor([0, 3]),
    "item_id": torch.tensor([5, 1]),
    "domain_id": torch.tensor([2, 2]),
}


def arrays(model):
    return {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}


def looked_up(weights, prefix):
    return [weights[f"{prefix}.{name}.weight"][FEATURES[name].numpy()] for name in SIZES]


def mlp(weights, x):
    for layer in (0, 3):
        x = np.maximum(0, x @ weights[f"hidden.{layer}.weight"].T + weights[f"hidden.{layer}.bias"])
    return (x @ weights["output.weight"].T + weights["output.bias"])[:, 0]


def test_mlp_is_its_formula():
    model = small_model()
    weights = arrays(model)
    expected = mlp(weights, np.concatenate(looked_up(weights, "embeddings"), axis=1))
    np.testing.assert_allclose(model(FEATURES).detach().numpy(), expected, atol=1e-12)
    assert sum(w.size for w in weights.values()) == 17 * 3 + (9 * 5 + 5) + (5 * 4 + 4) + (4 + 1)


def test_deepfm_is_its_formula():
    model = small_model("deepfm")
    weights = arrays(model)
    vectors = looked_up(weights, "embeddings")
    pairs = sum((vectors[i] * vectors[j]).sum(1) for i in range(3) for j in range(i + 1, 3))
    first = sum(looked_up(weights, "linear"))[:, 0]
    expected = first + pairs + mlp(weights, np.concatenate(vectors, axis=1))
    np.testing.assert_allclose(model(FEATURES).detach().numpy(), expected, atol=1e-12)
    assert sum(w.size for w in weights.values()) == 17 * 3 + 17 * 1 + (9 * 5 + 5) + (5 * 4 + 4) + (4 + 1)


@pytest.mark.parametrize("name", ["mlp", "deepfm"])
def test_frozen_vectors_of_another_width_are_used_and_not_trained(name):
    vectors = {"user_id": torch.randn(7, 8)}
    model = small_model(name, vectors=vectors)
    frozen = [key for key, parameter in model.named_parameters() if not parameter.requires_grad]
    assert frozen == ["embeddings.user_id.weight"]
    before = model(FEATURES)
    vectors["user_id"].zero_()
    model.get_parameter(frozen[0]).data.zero_()
    assert before.shape == (2,)
    assert not torch.equal(before, model(FEATURES))


@pytest.mark.parametrize("name", ["mlp", "deepfm"])
def test_every_table_is_named_with_its_feature(name):
    model = small_model(name)
    for table, feature in model.tables.items():
        assert len(model.get_parameter(table)) == SIZES[feature]


def test_a_seed_decides_the_initial_values():
    weights = [arrays(small_model(seed=seed))["output.weight"] for seed in (0, 0, 1)]
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_an_unknown_backbone_is_named():
    with pytest.raises(UserError, match='model.name "mpl" does not exist: choose one of mlp, deepfm'):
        build_model(ModelConfig(name="mpl"), SCHEMA, 0)
