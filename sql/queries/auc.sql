-- The exact AUC of each (model, group): of all pairs of a positive and a negative, the share in which the positive
-- has the higher logit, ties counting half. Rows of one logit are one step of the walk through the sorted logits.
-- The walk is cut into parts, so that no task holds all rows of a large group; parts are numbered in sorted order.
WITH steps AS (
  SELECT
    model,
    ${group} AS domain_id,
    logit,
    count_if(label = 1) AS positives,
    count_if(label = 0) AS negatives,
    sum(log1p(exp(-abs(logit))) + greatest(logit, 0) - logit * label) AS loss
  FROM ${scores}
  GROUP BY ALL
),
sorted AS (
  SELECT /*+ REPARTITION_BY_RANGE(model, domain_id, logit) */ * FROM steps
),
numbered AS (
  SELECT *, spark_partition_id() AS part FROM sorted
),
walk AS (
  SELECT
    *,
    sum(negatives) OVER (
      PARTITION BY part, model, domain_id ORDER BY logit ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) - negatives AS negatives_below
  FROM numbered
),
parts AS (
  SELECT
    model,
    domain_id,
    sum(positives) AS positives,
    sum(negatives) AS negatives,
    sum(positives * (negatives_below + negatives / 2)) AS pairs_won,
    sum(loss) AS loss,
    coalesce(
      sum(sum(negatives)) OVER (
        PARTITION BY model, domain_id ORDER BY part ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
      ),
      0
    ) AS negatives_before
  FROM walk
  GROUP BY part, model, domain_id
)
SELECT
  model,
  domain_id,
  sum(positives + negatives) AS rows,
  sum(positives) AS positives,
  sum(pairs_won + positives * negatives_before)
    / nullif(CAST(sum(positives) AS DOUBLE) * sum(negatives), 0) AS auc,
  sum(loss) / sum(positives + negatives) AS logloss
FROM parts
GROUP BY model, domain_id
