-- Computes the exact AUC of each (model, group): the share of (positive, negative) pairs in which the positive has the
-- higher logit, ties counting half. Rows are sorted by logit, and each positive counts the negatives below it.
-- The sorted rows are cut into slices, so that no task holds all rows of a large group. A second window adds the
-- negatives of earlier slices.
WITH by_logit AS (
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
  SELECT /*+ REPARTITION_BY_RANGE(model, domain_id, logit) */ * FROM by_logit
),
sliced AS (
  SELECT *, spark_partition_id() AS slice FROM sorted
),
cumulative AS (
  SELECT
    *,
    sum(negatives) OVER (
      PARTITION BY slice, model, domain_id ORDER BY logit ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) - negatives AS negatives_below
  FROM sliced
),
slices AS (
  SELECT
    model,
    domain_id,
    sum(positives) AS positives,
    sum(negatives) AS negatives,
    sum(positives * (negatives_below + negatives / 2)) AS pairs_won,
    sum(loss) AS loss,
    coalesce(
      sum(sum(negatives)) OVER (
        PARTITION BY model, domain_id ORDER BY slice ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
      ),
      0
    ) AS negatives_before
  FROM cumulative
  GROUP BY slice, model, domain_id
)
SELECT
  model,
  domain_id,
  sum(positives + negatives) AS rows,
  sum(positives) AS positives,
  sum(pairs_won + positives * negatives_before)
    / nullif(CAST(sum(positives) AS DOUBLE) * sum(negatives), 0) AS auc,
  sum(loss) / sum(positives + negatives) AS logloss
FROM slices
GROUP BY model, domain_id
