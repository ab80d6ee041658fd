"""Inside Spark tasks: requests (a user in a domain) and candidates in, the best items of each request out."""

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
    """The `top_k` best candidates of each request.

    Args:
        requests: bucket, part, domain_id, domain (its key), user (key), user_id (-1: unknown), the features of users.
        domains: bucket, part, domain_id; rounds, dense, embeddings as in domain_parameters, null where it has no row.
            One row for each domain of the requests in a bucket.

        One of the two has candidates too: arrays of structs of item (key), item_id (-1: unknown) and the features of
        items, by key; those in `domains` are for all requests of a domain.

    Returns:
        A row a request and item, as in RANKED.
    """
    schema, dtype = key.schema, adaptation_settings(key.config).specific_dtype

    def rank_group(requests: pa.Table, domains: pa.Table) -> pa.Table:
        use_cpu(threads=1)
        model, theta = open_theta(key)

        def rank_domain(number: int, row: dict) -> pa.Table:
            specific = from_row(row, theta, dtype)

            def logits_of(columns: Columns) -> np.ndarray:
                features = to_features(columns, theta.like.device)
                return domain_logits(model, theta, specific, features).double().cpu().numpy()

            asking = requests.filter(pc.equal(requests["domain_id"], row["domain_id"]))
            lists = asking if CANDIDATES in asking.column_names else domains.slice(number, 1)
            ranked = rank_items(asking, lists[CANDIDATES].combine_chunks(), schema, logits_of, top_k)
            return ranked.append_column("specific", pa.array([specific is not None] * len(ranked)))

        parameters = domains.select(["domain_id", "rounds", "dense", "embeddings"]).to_pylist()
        return pa.concat_tables([rank_domain(number, row) for number, row in enumerate(parameters)])

    group = ("bucket", "part")
    return requests.groupBy(*group).cogroup(domains.groupBy(*group)).applyInArrow(rank_group, RANKED)
