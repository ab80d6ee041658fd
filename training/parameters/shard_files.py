"""Sharded tables on disk: each rank writes the rows that it owns, and any number of ranks reads them."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.config import Config
from training.data.schema import Schema
from training.distributed.ranks import Ranks
from training.errors import UserError
from training.files.atomic_write import atomic_write
from training.parameters.remote_tables import StoredTable
from training.parameters.shared import SharedParameters
from training.parameters.table_shards import Shard, table_key

Shards = Mapping[str, Shard]  # by vocabulary


def make_shards(config: Config, schema: Schema, frozen: Mapping[str, Tensor], ranks: Ranks) -> dict[str, Shard]:
    """A shard, with no tables yet, of each vocabulary in training.sharded. Raises UserError."""
    learned = {name: size for name, size in schema.sizes.items() if name not in frozen and name != "domain_id"}
    for name in config.training.sharded:
        if name not in learned:
            raise UserError(
                f'config key "training.sharded" names {name}, which has no learned embeddings: '
                f"there are those of {', '.join(learned) or 'none'}"
            )
    return {name: Shard(name, learned[name], config.seed, ranks) for name in config.training.sharded}


def add_tables(shards: Shards, model: nn.Module, scale: float) -> None:
    """Gives the shards the tables of `model` that are looked up by their vocabularies."""
    for name, vocabulary in model.tables.items():
        if vocabulary in shards:
            shards[vocabulary].add(name, model.get_parameter(name).shape[1], scale)


def save_shards(folder: Path, shards: Shards, ranks: Ranks, tables: Mapping[str, list[str]] | None = None) -> None:
    """Writes this rank's file; only `tables`, by vocabulary, where they are given."""
    tensors = {}
    for vocabulary, shard in shards.items():
        for name, value in shard.state().items():
            if tables is None or name in ("ids", *tables[vocabulary]):
                tensors[f"{vocabulary}/{name}"] = value.contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{ranks.rank}of{ranks.size}.safetensors"
    with atomic_write(path) as aside:
        save_file(tensors, aside)
    ranks.wait()
    if ranks.local_rank == 0:  # what another number of ranks left here when it was cut off
        for stale in set(folder.glob("*of*.safetensors")) - set(folder.glob(f"*of{ranks.size}.safetensors")):
            stale.unlink(missing_ok=True)


def load_shards(folder: Path, shards: Shards) -> None:
    """Makes the shards hold what the ranks of one run, however many, saved in `folder`, and nothing else."""
    parts = read_files(folder)
    for vocabulary, shard in shards.items():
        shard.clear()
        for part in parts:
            shard.load(of_vocabulary(part, vocabulary))


class ShardCheckpoints:
    """The shards of the last epoch and of the best one, each in a folder in `folder`; nothing where there are none.

    Every rank must call all of its methods.
    """

    LAST, BEST = "shards-last", "shards-best"

    def __init__(self, folder: Path, shards: Shards, ranks: Ranks) -> None:
        self.folder, self.shards, self.ranks = folder, shards, ranks

    def keep_best(self, epoch: int) -> None:
        self._save(self.BEST, epoch)

    def keep_last(self, epoch: int) -> None:
        self._save(self.LAST, epoch)

    def load_best(self, epoch: int) -> None:
        self._load(self.BEST, epoch)

    def load_last(self, epoch: int) -> None:
        self._load(self.LAST, epoch)

    def drop_all_but(self, named: Sequence[tuple[int, int]]) -> None:
        """Leaves what the checkpoints name, each by its epoch and its best one: the newest may turn out to be torn."""
        if self.ranks.local_rank == 0:
            kept = {
                self._path(kind, epoch)
                for pair in named
                for kind, epoch in zip((self.LAST, self.BEST), pair, strict=True)
            }
            for kind in (self.LAST, self.BEST):
                for path in set(self.folder.glob(f"{kind}-*")) - kept:
                    shutil.rmtree(path, ignore_errors=True)  # machines that share the folder all try

    def _save(self, kind: str, epoch: int) -> None:
        if self.shards:
            save_shards(self._path(kind, epoch), self.shards, self.ranks)

    def _load(self, kind: str, epoch: int) -> None:
        if self.shards:
            load_shards(self._path(kind, epoch), self.shards)

    def _path(self, kind: str, epoch: int) -> Path:
        return self.folder / f"{kind}-{epoch:05d}"


def read_files(folder: Path) -> list[dict[str, Tensor]]:
    """The memory-mapped files of a complete set, in the order of the ranks."""
    for size in sorted({int(path.stem.split("of")[1]) for path in folder.glob("*of*.safetensors")}):
        paths = [folder / f"{rank}of{size}.safetensors" for rank in range(size)]
        if all(path.exists() for path in paths):
            return [load_file(path) for path in paths]
    raise RuntimeError(f"{folder} lacks the shards of some ranks")


def of_vocabulary(part: Mapping[str, Tensor], vocabulary: str) -> dict[str, Tensor]:
    prefix = f"{vocabulary}/"
    return {name.removeprefix(prefix): value for name, value in part.items() if name.startswith(prefix)}


def attach_stored_tables(theta: SharedParameters, folder: Path, schema: Schema, config: Config) -> None:
    """Lets `theta` read its sharded tables from the files in `folder`."""
    sharded = config.training.sharded
    if not sharded:
        return
    parts = read_files(folder)
    for name, vocabulary in theta.vocabulary_of.items():
        if vocabulary in sharded and name in theta.tables:
            own = [of_vocabulary(part, vocabulary) for part in parts]
            theta.tables[name] = StoredTable(
                shards=[(rows["ids"], rows[name]) for rows in own],
                shape=(schema.sizes[vocabulary], theta.tables[name].shape[1]),
                scale=config.model.embedding_scale,
                key=table_key(config.seed, name),
                like=theta.like,
            )
