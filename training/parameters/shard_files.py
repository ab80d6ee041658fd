"""Stores sharded tables on disk: each rank writes the rows that it owns, and any number of ranks can read them."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.config import Config
from training.data.schema import Schema
from training.errors import UserError
from training.files.atomic_write import atomic_write
from training.parameters.embedding_model import embedding_model
from training.parameters.remote_tables import StoredTable
from training.parameters.row_initialization import table_key
from training.parameters.shared import SharedParameters
from training.parameters.table_shards import Shard

if TYPE_CHECKING:
    from training.distributed.ranks import Ranks

Shards = Mapping[str, Shard]  # by vocabulary


def make_shards(config: Config, schema: Schema, frozen: Mapping[str, Tensor], ranks: "Ranks") -> dict[str, Shard]:
    """Returns a shard without tables for each vocabulary in training.sharded.

    Raises:
        UserError: training.sharded names a vocabulary without learned embeddings.
    """
    learned = {name: size for name, size in schema.sizes.items() if name not in frozen and name != "domain_id"}
    for name in config.training.sharded:
        if name not in learned:
            raise UserError(
                f'config key "training.sharded" names {name}, which has no learned embeddings: '
                f"choose among {', '.join(learned) or 'no vocabularies'}"
            )
    return {name: Shard(name, learned[name], config.seed, ranks) for name in config.training.sharded}


def add_tables(shards: Shards, model: nn.Module, scale: float) -> None:
    """Adds the tables of `model` to the shards of their vocabularies. `scale` is the initial standard deviation."""
    for name, vocabulary in embedding_model(model).tables.items():
        if vocabulary in shards:
            shards[vocabulary].add(name, model.get_parameter(name).shape[1], scale)


def save_shards(folder: Path, shards: Shards, ranks: "Ranks", tables: Mapping[str, list[str]] | None = None) -> None:
    """Writes this rank's rows to a file in `folder`. Every rank must call it.

    Args:
        folder: is created if needed.
        shards: the shards by vocabulary.
        ranks: all ranks.
        tables: the names of the tables to write, by vocabulary; all tables if None.
    """
    tensors = {}
    for vocabulary, shard in shards.items():
        for name, value in shard.state().items():
            if tables is None or name in ("ids", *tables[vocabulary]):
                tensors[f"{vocabulary}/{name}"] = value.contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{ranks.rank}of{ranks.size}.safetensors"
    with atomic_write(path) as temporary:
        save_file(tensors, temporary)
    ranks.wait()
    if ranks.local_rank == 0:  # remove what an interrupted run with another number of ranks left
        for stale in set(folder.glob("*of*.safetensors")) - set(folder.glob(f"*of{ranks.size}.safetensors")):
            stale.unlink(missing_ok=True)


def load_shards(folder: Path, shards: Shards) -> None:
    """Replaces all rows of the shards by the rows in `folder`, which any number of ranks has saved."""
    files = read_files(folder)
    for vocabulary, shard in shards.items():
        shard.clear()
        for tensors in files:
            shard.load(of_vocabulary(tensors, vocabulary))


class ShardCheckpoints:
    """Saves the shards of the last and of the best epoch, each in a subfolder of `folder`.

    Does nothing if no table is sharded. Every rank must call every method.
    """

    LAST, BEST = "shards-last", "shards-best"

    def __init__(self, folder: Path, shards: Shards, ranks: "Ranks") -> None:
        self.folder, self.shards, self.ranks = folder, shards, ranks

    def keep_best(self, epoch: int) -> None:
        """Saves the shards as those of the best epoch."""
        self._save(self.BEST, epoch)

    def keep_last(self, epoch: int) -> None:
        """Saves the shards as those of the last epoch."""
        self._save(self.LAST, epoch)

    def load_best(self, epoch: int) -> None:
        """Restores the shards of the best epoch."""
        self._load(self.BEST, epoch)

    def load_last(self, epoch: int) -> None:
        """Restores the shards of the last epoch."""
        self._load(self.LAST, epoch)

    def drop_all_but(self, epochs: Sequence[tuple[int, int]]) -> None:
        """Deletes the shards that no checkpoint needs.

        Args:
            epochs: the epoch and the best epoch of each checkpoint. There are several, since the newest may be torn.
        """
        if self.ranks.local_rank == 0:
            needed = {
                self._path(kind, epoch)
                for pair in epochs
                for kind, epoch in zip((self.LAST, self.BEST), pair, strict=True)
            }
            for kind in (self.LAST, self.BEST):
                for path in set(self.folder.glob(f"{kind}-*")) - needed:
                    shutil.rmtree(path, ignore_errors=True)  # machines that share the folder all try to delete it

    def _save(self, kind: str, epoch: int) -> None:
        if self.shards:
            save_shards(self._path(kind, epoch), self.shards, self.ranks)

    def _load(self, kind: str, epoch: int) -> None:
        if self.shards:
            load_shards(self._path(kind, epoch), self.shards)

    def _path(self, kind: str, epoch: int) -> Path:
        return self.folder / f"{kind}-{epoch:05d}"


def read_files(folder: Path) -> list[dict[str, Tensor]]:
    """Returns the memory-mapped tensors of each rank's file, from a complete set of files."""
    for size in sorted({int(path.stem.split("of")[1]) for path in folder.glob("*of*.safetensors")}):
        paths = [folder / f"{rank}of{size}.safetensors" for rank in range(size)]
        if all(path.exists() for path in paths):
            return [load_file(path) for path in paths]
    raise RuntimeError(f"folder {folder} lacks the shard files of some ranks: train the model again")


def of_vocabulary(tensors: Mapping[str, Tensor], vocabulary: str) -> dict[str, Tensor]:
    """Returns the state of a vocabulary's shard, as `Shard.state` does, from the tensors of a file."""
    prefix = f"{vocabulary}/"
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def attach_stored_tables(theta: SharedParameters, folder: Path, schema: Schema, config: Config) -> None:
    """Makes `theta` read its sharded tables from the files in `folder`."""
    sharded = config.training.sharded
    if not sharded:
        return
    files = read_files(folder)
    for name, vocabulary in theta.vocabulary_of.items():
        if vocabulary in sharded and name in theta.tables:
            states = [of_vocabulary(tensors, vocabulary) for tensors in files]
            theta.tables[name] = StoredTable(
                shards=[(state["ids"], state[name]) for state in states],
                shape=(schema.sizes[vocabulary], theta.tables[name].shape[1]),
                scale=config.model.embedding_scale,
                key=table_key(config.seed, name),
                like=theta.like,
            )
