-- Most domains of the last build still exist.
SELECT
  'more domains of the last build are gone than checks.vanished_domains allows' AS problem,
  IF(count_if(now.domain_key IS NULL) > ${vanished_domains} * count(*), count_if(now.domain_key IS NULL), 0) AS rows
FROM ${last_domains} AS last
LEFT JOIN ${domains} AS now USING (domain_key)
