-- The exact AUC of each (model, group): of all pairs of a positive and a negative, the share in which the positive
-- has the higher logit, ties counting half. Rows of one logit are one step of the walk through the sorted logits.
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
walk AS (
  SELECT
    *,
    sum(negatives) OVER (
      PARTITION BY model, domain_id ORDER BY logit ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) - negatives AS negatives_below
  FROM steps
)
SELECT
  model,
  domain_id,
  sum(positives + negatives) AS rows,
  sum(positives) AS positives,
  sum(positives * (negatives_below + negatives / 2))
    / nullif(CAST(sum(positives) AS DOUBLE) * sum(negatives), 0) AS auc,
  sum(loss) / sum(positives + negatives) AS logloss
FROM walk
GROUP BY model, domain_id
