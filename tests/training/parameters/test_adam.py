import torch

from training.parameters.adam import Moments


def test_dense_steps_equal_torchs_adam():
    torch.manual_seed(0)
    ours = torch.randn(4, 3, dtype=torch.float64)
    theirs = ours.clone().requires_grad_()
    optimizer, moments = torch.optim.Adam([theirs], lr=0.01), Moments()
    for _ in range(5):
        gradient = torch.randn_like(ours)
        theirs.grad = gradient.clone()
        optimizer.step()
        moments.begin_step()
        moments.update_("w", ours, gradient, 0.01)
    torch.testing.assert_close(ours, theirs.detach(), rtol=0, atol=1e-12)


def test_row_steps_equal_torchs_sparse_adam():
    torch.manual_seed(0)
    ours = torch.randn(6, 2, dtype=torch.float64)
    theirs = ours.clone().requires_grad_()
    optimizer, moments = torch.optim.SparseAdam([theirs], lr=0.01), Moments()
    for ids in ([1, 4], [0, 1, 5], [4, 5], [1, 2]):
        rows = torch.randn(len(ids), 2, dtype=torch.float64)
        theirs.grad = torch.sparse_coo_tensor([ids], rows, ours.shape)
        optimizer.step()
        moments.begin_step()
        moments.update_rows_("w", ours, torch.tensor(ids), rows, 0.01)
    torch.testing.assert_close(ours, theirs.detach(), rtol=0, atol=1e-6)


def test_rows_outside_the_batch_do_not_move():
    table, moments = torch.ones(3, 2), Moments()
    for ids in ([0, 1], [0]):
        before = table.clone()
        moments.begin_step()
        moments.update_rows_("w", table, torch.tensor(ids), torch.ones(len(ids), 2), 0.1)
        others = [row for row in range(3) if row not in ids]
        assert torch.equal(table[others], before[others])


def test_restored_moments_continue_as_the_saved_ones():
    value, moments = torch.ones(2, dtype=torch.float64), Moments()
    moments.begin_step()
    moments.update_("w", value, torch.ones_like(value), 0.1)
    restored_value, restored = value.clone(), Moments()
    restored.load_state({name: tensor.clone() for name, tensor in moments.state().items()})
    for tensor, state in ((value, moments), (restored_value, restored)):
        state.begin_step()
        state.update_("w", tensor, torch.full_like(tensor, 3.0), 0.1)
    assert torch.equal(value, restored_value)
