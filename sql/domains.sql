-- The domains table: the plan of the build, and the rows of the samples that were written.
SELECT
  plan.domain_id,
  plan.domain_key,
  counts.rows,
  counts.rows_train,
  counts.rows_val,
  counts.rows_test,
  counts.positives_train,
  counts.positives_val,
  counts.positives_test,
  plan.users,
  plan.items,
  plan.ctr_ratio,
  plan.head,
  plan.first_bucket,
  plan.buckets,
  least(counts.rows_train, counts.rows_val, counts.rows_test) = 0 AS short
FROM ${plan} AS plan
JOIN (
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
) AS counts USING (domain_id)
