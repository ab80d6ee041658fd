-- Joins the plan of the domains with the counts of the samples that were written: the columns of the table domains.
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
JOIN (${counts}) AS counts USING (domain_id)
