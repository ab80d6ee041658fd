-- The share of positives is about that of the last build.
SELECT
  'percent points lie between the share of positives and that of the last build, above checks.label_rate' AS problem,
  IF(abs(now.rate - last.rate) > ${label_rate}, CAST(round(100 * abs(now.rate - last.rate)) AS INT), 0) AS rows
FROM (SELECT sum(positives_train) / sum(rows_train) AS rate FROM ${domains}) AS now
CROSS JOIN (SELECT sum(positives_train) / sum(rows_train) AS rate FROM ${last_domains}) AS last
