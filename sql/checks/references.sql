-- Samples refer to users, items and domains that there are.
SELECT 'tables lack ids that samples have' AS problem, count_if(largest >= count) AS rows
FROM (
  SELECT (SELECT max(user_id) FROM ${samples}) AS largest, count(*) AS count FROM ${users}
  UNION ALL
  SELECT (SELECT max(item_id) FROM ${samples}), count(*) FROM ${items}
  UNION ALL
  SELECT (SELECT max(domain_id) FROM ${samples}), count(*) FROM ${domains}
)
