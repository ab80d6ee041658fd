import pytest
import torch
from torch.func import vmap

from training.models.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_are_dropped_with_probability_p_and_others_scaled(p, dtype):
    torch.manual_seed(0)
    values = Dropout(p)(torch.ones(501, 1001, dtype=dtype))
    assert values.dtype == dtype
    scaled = values[values != 0]
    torch.testing.assert_close(scaled, torch.full_like(scaled, 1 / (1 - p)), rtol=1e-4, atol=0)
    for mean in (values.mean(), values.mean(0).mean(), values[::2, 1::2].mean()):
        assert abs(mean - 1) < 0.02
    dropped = (values == 0).double().flatten()
    for shift in (1, 2, 4, 1001):  # values that share a random word, and neighbours in a column, are independent
        both = (dropped[shift:] * dropped[:-shift]).mean()
        assert abs(both - p * p) < 0.005


def test_gradient_passes_where_values_pass():
    values = torch.randn(7, 5).requires_grad_()
    dropped = Dropout(0.5)(values)
    dropped.sum().backward()
    assert torch.equal(values.grad == 0, dropped == 0)
    assert 0 < (dropped == 0).sum() < 35


def test_mask_depends_on_the_seed_and_the_call():
    layer, values = Dropout(0.5), torch.ones(100)
    masks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        masks.append(layer(values))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[2], layer(values))


def test_domains_side_by_side_have_different_masks():
    lines = vmap(Dropout(0.5), randomness="different")(torch.ones(3, 100))
    assert len({tuple(line.tolist()) for line in lines}) == 3


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (0.5, False)])
def test_nothing_is_dropped_in_evaluation_or_at_zero(p, training):
    values = torch.randn(4)
    assert Dropout(p).train(training)(values) is values
