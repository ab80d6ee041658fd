-- The domains whose share of positives is the farthest from that of all, among those with a hundred training samples.
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
