-- The table domains counts, in each split, the samples and positives that there are.
SELECT 'domains whose samples are not as many as the table domains says' AS problem, count(*) AS rows
FROM (${counts}) AS found
FULL JOIN ${domains} AS told USING (domain_id)
WHERE struct(found.rows_train, found.rows_val, found.rows_test)
    IS DISTINCT FROM struct(told.rows_train, told.rows_val, told.rows_test)
  OR struct(found.positives_train, found.positives_val, found.positives_test)
    IS DISTINCT FROM struct(told.positives_train, told.positives_val, told.positives_test)
