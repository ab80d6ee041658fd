"""Ranks candidates inside Spark tasks: for each request, the best items for a user in a domain."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from pipelines.tasks.model_key import ModelKey, open_theta
from training.artifacts.domain_parameters import from_row
from training.config.framework_settings import adaptation_settings
from training.data.columns import Columns, to_features
from training.distributed.device import use_cpu
from training.parameters.forward import domain_logits
from training.serving.ranking import CANDIDATES, rank_items

RANKED = (
    "domain_key STRING, user_key STRING, rank INT, item_key STRING, score DOUBLE, specific BOOLEAN, "
    "known_user BOOLEAN, known_item BOOLEAN"
)


def rank_requests(requests: DataFrame, domains: DataFrame, key: ModelKey, top_k: int) -> DataFrame:
    """Ranks the candidates of each request and keeps the `top_k` best.

    Args:
        requests: bucket, part, domain_id, domain (its key), user (key), user_id (-1: unknown), the features of users.
        domains: bucket, part, domain_id, and rounds, dense, embeddings as in domain_parameters: null for a domain
            without a row. One row per bucket for each domain of the requests.

        One of the two also has candidates: arrays, sorted by key, of structs of item (key), item_id (-1: unknown) and
        the features of items. Candidates in `domains` apply to all requests of the domain.

    Returns:
        One row per request and item, as in RANKED.
    """
    schema, dtype = key.schema, adaptation_settings(key.config).specific_dtype

    def rank_group(requests: pa.Table, domains: pa.Table) -> pa.Table:
        use_cpu(threads=1)
        model, theta = open_theta(key)

        def rank_domain(index: int, row: dict) -> pa.Table:
            offset = from_row(row, theta, dtype)

            def logits_of(columns: Columns) -> np.ndarray:
                features = to_features(columns, theta.like.device)
                return domain_logits(model, theta, offset, features).double().cpu().numpy()

            of_domain = requests.filter(pc.equal(requests["domain_id"], row["domain_id"]))
            owner = of_domain if CANDIDATES in of_domain.column_names else domains.slice(index, 1)
            ranked = rank_items(of_domain, owner[CANDIDATES].combine_chunks(), schema, logits_of, top_k)
            return ranked.append_column("specific", pa.array([offset is not None] * len(ranked)))

        parameters = domains.select(["domain_id", "rounds", "dense", "embeddings"]).to_pylist()
        return pa.concat_tables([rank_domain(index, row) for index, row in enumerate(parameters)])

    group = ("bucket", "part")
    return requests.groupBy(*group).cogroup(domains.groupBy(*group)).applyInArrow(rank_group, RANKED)
