-- Lists the ten domains, of those with at least 50 test rows, that have the lowest AUC in the last evaluation.
WITH last AS (
  SELECT * FROM delta.`${root}/tables/metrics_by_domain`
  WHERE evaluated_at = (SELECT max(evaluated_at) FROM delta.`${root}/tables/metrics_by_domain`)
)
SELECT model, domain_key, rows, positives, round(auc, 4) AS auc
FROM last
WHERE rows >= 50 AND auc IS NOT NULL AND model <> 'popularity'
ORDER BY auc, domain_key, model
LIMIT 10
