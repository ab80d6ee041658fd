import torch

from training.distributed.ranks import Ranks
from training.parameters.remote_tables import PulledTable, StoredTable
from training.parameters.row_initialization import table_key
from training.parameters.table_shards import Shard


def test_pulled_table_returns_rows_of_ids_of_any_shape():
    table = PulledTable(torch.tensor([3, 7]), torch.tensor([[1.0], [2.0]]))
    assert table.shape == (2, 1)
    assert table[torch.tensor([[7, 3], [3, 3]])].squeeze(-1).tolist() == [[2, 1], [1, 1]]


def test_stored_table_returns_the_rows_of_the_shard_that_wrote_it():
    """Rows that no rank has are drawn as the shard draws them."""
    shard = Shard("user_id", 10, 3, Ranks())
    shard.add("user_id.weight", 2, scale=0.5)
    shard.push(torch.tensor([4]), {"user_id.weight": torch.ones(1, 2)}, rate=1.0)
    state = shard.state()
    stored = StoredTable(
        [(state["ids"], state["user_id.weight"])], (10, 2), 0.5, table_key(3, "user_id.weight"), torch.empty(0)
    )
    ids = torch.tensor([[4, 9], [0, 4]])
    expected = shard.pull(torch.tensor([4, 9, 0]), ["user_id.weight"])["user_id.weight"]
    torch.testing.assert_close(stored[ids], expected[torch.tensor([[0, 1], [2, 0]])], rtol=0, atol=0)
