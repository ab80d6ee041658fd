-- Most domains of the last build are still there.
SELECT
  'domains of the last build are gone, a share above checks.vanished_domains' AS problem,
  IF(count_if(now.domain_key IS NULL) > ${vanished_domains} * count(*), count_if(now.domain_key IS NULL), 0) AS rows
FROM ${last_domains} AS last
LEFT JOIN ${domains} AS now USING (domain_key)
