-- The share of positives is about that of the last build.
SELECT
  'the share of positives moved by more percentage points than checks.label_rate allows' AS problem,
  IF(abs(now.rate - last.rate) > ${label_rate}, CAST(round(100 * abs(now.rate - last.rate)) AS INT), 0) AS rows
FROM (SELECT sum(positives_train) / sum(rows_train) AS rate FROM ${domains}) AS now
CROSS JOIN (SELECT sum(positives_train) / sum(rows_train) AS rate FROM ${last_domains}) AS last
