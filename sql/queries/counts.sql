-- Counts the samples and positives of each domain by split.
SELECT
  domain_id,
  count(*) AS rows,
  count_if(split = 'train') AS rows_train,
  count_if(split = 'val') AS rows_val,
  count_if(split = 'test') AS rows_test,
  count_if(split = 'train' AND label = 1) AS positives_train,
  count_if(split = 'val' AND label = 1) AS positives_val,
  count_if(split = 'test' AND label = 1) AS positives_test
FROM ${samples}
GROUP BY domain_id
