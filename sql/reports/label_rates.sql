-- Lists the ten domains, of those with at least 100 training samples, whose share of positives is the farthest from the
-- share in all domains.
WITH rates AS (
  SELECT
    domain_key,
    rows_train,
    positives_train / rows_train AS rate,
    sum(positives_train) OVER () / sum(rows_train) OVER () AS rate_of_all
  FROM delta.`${root}/tables/domains`
)
SELECT domain_key, rows_train, round(rate, 3) AS label_rate, round(rate_of_all, 3) AS label_rate_of_all
FROM rates
WHERE rows_train >= 100
ORDER BY abs(rate - rate_of_all) DESC, domain_key
LIMIT 10
