-- The table domains counts the samples and positives of each split correctly.
SELECT
  'domains whose number of samples or positives differs from the table domains' AS problem,
  count(*) AS rows
FROM (${counts}) AS counted
FULL JOIN ${domains} AS stated USING (domain_id)
WHERE struct(counted.rows_train, counted.rows_val, counted.rows_test)
    IS DISTINCT FROM struct(stated.rows_train, stated.rows_val, stated.rows_test)
  OR struct(counted.positives_train, counted.positives_val, counted.positives_test)
    IS DISTINCT FROM struct(stated.positives_train, stated.positives_val, stated.positives_test)
