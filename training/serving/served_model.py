"""Ranks candidates for a user in a domain by Theta = theta^S + theta^i, which is read when the domain is asked for."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.artifacts.domain_parameters import from_row
from training.artifacts.model_names import model_path, shared_version, specific_version
from training.artifacts.model_store import load_theta, read_manifest, state_of
from training.column_names import KEYS
from training.config import restore_config
from training.data.columns import Columns, to_features
from training.data.delta_files import column_files
from training.data.schema import Schema
from training.distributed.device import use_cpu
from training.errors import UserError
from training.parameters.domain_offsets import DomainOffset
from training.parameters.forward import domain_logits
from training.serving.key_files import ID, KeyIndex
from training.serving.ranking import UNKNOWN, rank_items

COLUMNS = ["domain_id", "rounds", "dense", "embeddings"]


class Ranker:
    """The models that are served: one for all domains, and those that single domains have instead."""

    def __init__(self, served: Iterable[Mapping], root: str, cached_domains: int) -> None:
        """Opens what pipelines/export_model.py has found to be served.

        Args:
            served: for each model domain (the key of its only one, or None), model_version, table_version, settings,
                and keys: where those of user, item and domain lie, below `root`.
            cached_domains: whose theta^i each model keeps in memory.

        Raises:
            UserError: a model is not there any more, or was trained on.
        """
        use_cpu(threads=1)
        self._models = {one["domain"]: ServedModel(one, root, cached_domains) for one in served}

    def rank(self, domain: str, user: str, items: Sequence[str], top_k: int | None = None) -> pa.Table:
        """The best items, as batch scoring ranks them: RANKED of pipelines/tasks/rank_requests.py, a row an item.

        Raises:
            UserError: the model does not have the domain, or there are no items.
        """
        return self._models.get(domain, self._models[None]).rank(domain, user, items, top_k)


class ServedModel:
    """One model: theta^S memory-mapped, theta^i of the domains that were asked for last in memory."""

    def __init__(self, served: Mapping, root: str, cached_domains: int) -> None:
        self._config = config = restore_config(served["settings"], root)
        shared = shared_version(config, served["table_version"])
        folder = model_path(config, shared)
        manifest = read_manifest(folder)
        state, version = state_of(manifest), served["model_version"]
        if version not in (f"{shared}.{state}", specific_version(config, shared, state)):
            raise UserError(f"model {version} is at {state} now, it was trained on: export what is served again")
        self._schema = Schema.from_json(manifest["schema"])
        self._model, self._theta = load_theta(folder, config)
        self._users, self._items, self._domains = (KeyIndex(Path(root, served["keys"][owner])) for owner in KEYS)
        self._places = _places(config.table("domain_parameters"), version)
        self._specific = lru_cache(cached_domains)(self._read_specific)

    def rank(self, domain: str, user: str, items: Sequence[str], top_k: int | None) -> pa.Table:
        [domain_id] = self._domains.look_up([domain])[ID].tolist()
        if domain_id == UNKNOWN:
            raise UserError(f'domain "{domain}" is not known to the model')
        if not items:
            raise UserError(f'the request of user "{user}" in domain "{domain}" has no items')
        candidates = sorted(set(items))
        request = {"domain": [domain], "user": [user], "domain_id": [domain_id]} | _named(
            self._users.look_up([user]), "user"
        )
        asked = {"item": candidates} | _named(self._items.look_up(candidates), "item")
        structs = pa.StructArray.from_arrays([pa.array(column) for column in asked.values()], list(asked))
        lists = pa.ListArray.from_arrays([0, len(candidates)], structs)
        specific = self._specific(domain_id)

        def logits_of(columns: Columns) -> np.ndarray:
            features = to_features(columns, self._theta.like.device)
            return domain_logits(self._model, self._theta, specific, features).double().numpy()

        ranked = rank_items(pa.table(request), lists, self._schema, logits_of, top_k or len(candidates))
        return ranked.append_column("specific", pa.array([specific is not None] * len(ranked)))

    def _read_specific(self, domain_id: int) -> DomainOffset | None:
        """theta^i of a domain; None where it has none."""
        if domain_id not in self._places:
            return None
        file, group, row = self._places[domain_id]
        [stored] = pq.ParquetFile(file).read_row_group(group, COLUMNS).slice(row, 1).to_pylist()
        return from_row(stored, self._theta, self._config.framework.specific_dtype)


def _places(path: str, version: str) -> dict[int, tuple[str, int, int]]:
    """By domain the file, row group and row there that hold its theta^i; without those that are zero."""
    places = {}
    for file in column_files(path, COLUMNS, {"model_version": version}):
        parquet = pq.ParquetFile(file)
        for group in range(parquet.num_row_groups):
            of_group = parquet.read_row_group(group, ["domain_id", "rounds"]).to_pydict()
            for row, (domain_id, rounds) in enumerate(zip(*of_group.values(), strict=True)):
                if rounds:
                    places[domain_id] = (file, group, row)
    return places


def _named(found: Columns, owner: str) -> dict[str, list]:
    """What was looked up, with the id under the name that the schema has for it."""
    return {f"{owner}_id" if name == ID else name: column.tolist() for name, column in found.items()}
