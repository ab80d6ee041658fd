-- Lists the last evaluation of each model, best model first.
WITH ranked AS (
  SELECT *, row_number() OVER (PARTITION BY model_version, model ORDER BY evaluated_at DESC) AS age
  FROM delta.`${root}/tables/metrics`
)
SELECT
  model,
  model_version,
  table_version,
  rows,
  domains_scored,
  round(mean_domain_auc, 4) AS mean_domain_auc,
  round(weighted_auc, 4) AS weighted_auc,
  round(auc, 4) AS auc,
  round(logloss, 4) AS logloss
FROM ranked
WHERE age = 1
ORDER BY mean_domain_auc DESC
