import pytest
import torch
from torch.func import vmap

from training.models.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_are_dropped_as_often_as_asked_for_and_the_others_scaled(p, dtype):
    torch.manual_seed(0)
    values = Dropout(p)(torch.ones(501, 1001, dtype=dtype))
    assert values.dtype == dtype
    kept = values[values != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - p)), rtol=1e-4, atol=0)
    for mean in (values.mean(), values.mean(0).mean(), values[::2, 1::2].mean()):
        assert abs(mean - 1) < 0.02
    places = (values == 0).double()
    for shift in (1, 2, 4, 1001):  # values that share a random word, and neighbours in a column, are independent
        both = (places.flatten()[shift:] * places.flatten()[:-shift]).mean()
        assert abs(both - p * p) < 0.005


def test_gradient_passes_where_values_do():
    values = torch.randn(7, 5).requires_grad_()
    dropped = Dropout(0.5)(values)
    dropped.sum().backward()
    assert torch.equal(values.grad == 0, dropped == 0)
    assert 0 < (dropped == 0).sum() < 35


def test_a_seed_gives_the_mask_and_another_call_another():
    layer, values = Dropout(0.5), torch.ones(100)
    masks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        masks.append(layer(values))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[2], layer(values))


def test_domains_side_by_side_have_masks_of_their_own():
    lines = vmap(Dropout(0.5), randomness="different")(torch.ones(3, 100))
    assert len({tuple(line.tolist()) for line in lines}) == 3


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (0.5, False)])
def test_nothing_is_dropped_in_evaluation_or_at_zero(p, training):
    values = torch.randn(4)
    assert Dropout(p).train(training)(values) is values
