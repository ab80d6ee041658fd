"""Ranks candidates for a user in a domain with Theta_i = theta^S + theta^i.

theta^S is memory-mapped. theta^i of a domain is read when the first request for the domain comes, and cached.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.artifacts.domain_parameters import from_row
from training.artifacts.manifest import read_manifest, state_of
from training.artifacts.model_names import model_path, shared_version, specific_version
from training.artifacts.model_store import load_theta
from training.column_names import KEYS
from training.config import restore_config
from training.config.framework_settings import adaptation_settings
from training.data.columns import Columns, to_features
from training.data.delta_files import column_files
from training.data.schema import Schema
from training.distributed.device import use_cpu
from training.errors import UserError
from training.parameters.domain_offsets import DomainOffset
from training.parameters.forward import domain_logits
from training.serving.key_files import ID, KeyIndex
from training.serving.ranking import UNKNOWN, rank_items

OFFSET_COLUMNS = ["domain_id", "rounds", "dense", "embeddings"]  # of the table domain_parameters


class Ranker:
    """Ranks with the promoted models: one for all domains, and others for single domains."""

    def __init__(self, served: Iterable[Mapping], root: str, cached_domains: int) -> None:
        """Opens the models that pipelines/export_model.py lists.

        Args:
            served: for each model its domain (the key of the only domain it serves, or None for all), model_version,
                table_version, settings, and keys: for user, item and domain the folder of key files, below `root`.
            cached_domains: the number of domains whose theta^i each model caches in memory.

        Raises:
            UserError: a model no longer exists, or has been trained further since the export.
        """
        use_cpu(threads=1)
        self._models = {exported["domain"]: ServedModel(exported, root, cached_domains) for exported in served}

    def rank(self, domain: str, user: str, items: Sequence[str], top_k: int | None = None) -> pa.Table:
        """Returns the best items for a user in a domain, ranked as batch scoring ranks them.

        Args:
            domain, user, items: keys; repeated items count once.
            top_k: the number of items to return (default: all).

        Returns:
            One row for each item, best first: domain_key, user_key, rank (from 1), item_key, score, known_user,
            known_item, and specific (whether the domain has a theta^i).

        Raises:
            UserError: the model does not have the domain, or there are no items.
        """
        return self._models.get(domain, self._models[None]).rank(domain, user, items, top_k)


class ServedModel:
    """Ranks with one model. theta^S is memory-mapped; theta^i is cached for the domains requested last."""

    def __init__(self, exported: Mapping, root: str, cached_domains: int) -> None:
        """Opens one of the models that `Ranker` describes; raises what it raises."""
        self._config = config = restore_config(exported["settings"], root)
        shared = shared_version(config, exported["table_version"])
        folder = model_path(config, shared)
        manifest = read_manifest(folder)
        state, version = state_of(manifest), exported["model_version"]
        if version not in (f"{shared}.{state}", specific_version(config, shared, state)):
            raise UserError(f"model {version} has been trained further (now {state}): export it again")
        self._schema = Schema.from_json(manifest["schema"])
        self._model, self._theta = load_theta(folder, config)
        self._users, self._items, self._domains = (KeyIndex(Path(root, exported["keys"][owner])) for owner in KEYS)
        self._locations = _locate_offsets(config.table("domain_parameters"), version)
        self._specific = lru_cache(cached_domains)(self._read_specific)

    def rank(self, domain: str, user: str, items: Sequence[str], top_k: int | None) -> pa.Table:
        """Returns the best items for a user in a domain, see `Ranker.rank`."""
        [domain_id] = self._domains.look_up([domain])[ID].tolist()
        if domain_id == UNKNOWN:
            raise UserError(
                f'domain "{domain}" is not in the model: add it with pipelines/add_domain.py and export again'
            )
        if not items:
            raise UserError(f'the request of user "{user}" in domain "{domain}" has no items: name at least one')
        candidates = sorted(set(items))
        request = {"domain": [domain], "user": [user], "domain_id": [domain_id]}
        request |= _rename_id(self._users.look_up([user]), "user")
        item_columns = {"item": candidates} | _rename_id(self._items.look_up(candidates), "item")
        structs = pa.StructArray.from_arrays([pa.array(column) for column in item_columns.values()], list(item_columns))
        lists = pa.ListArray.from_arrays([0, len(candidates)], structs)
        specific = self._specific(domain_id)

        def logits_of(columns: Columns) -> np.ndarray:
            features = to_features(columns, self._theta.like.device)
            return domain_logits(self._model, self._theta, specific, features).double().numpy()

        ranked = rank_items(pa.table(request), lists, self._schema, logits_of, top_k or len(candidates))
        return ranked.append_column("specific", pa.array([specific is not None] * len(ranked)))

    def _read_specific(self, domain_id: int) -> DomainOffset | None:
        """Reads theta^i of a domain; returns None if it has none."""
        if domain_id not in self._locations:
            return None
        file, group, row = self._locations[domain_id]
        [stored] = pq.ParquetFile(file).read_row_group(group, OFFSET_COLUMNS).slice(row, 1).to_pylist()
        return from_row(stored, self._theta, adaptation_settings(self._config).specific_dtype)


def _locate_offsets(path: str, version: str) -> dict[int, tuple[str, int, int]]:
    """Returns for each domain with a theta^i other than zero its file, row group and row in that group."""
    locations = {}
    for file in column_files(path, OFFSET_COLUMNS, {"model_version": version}):
        parquet = pq.ParquetFile(file)
        for group in range(parquet.num_row_groups):
            columns = parquet.read_row_group(group, ["domain_id", "rounds"]).to_pydict()
            for row, (domain_id, rounds) in enumerate(zip(columns["domain_id"], columns["rounds"], strict=True)):
                if rounds:
                    locations[domain_id] = (file, group, row)
    return locations


def _rename_id(columns: Columns, owner: str) -> dict[str, list]:
    """Converts looked-up columns to lists, and renames id to the name in the samples (user_id or item_id)."""
    return {f"{owner}_id" if name == ID else name: column.tolist() for name, column in columns.items()}
