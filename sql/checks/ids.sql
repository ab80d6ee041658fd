-- Ids are 0, 1, 2, ... without gaps.
SELECT
  'tables of users, items or domains whose ids have gaps' AS problem,
  count_if(last != count - 1 OR total != CAST(count AS DECIMAL(38)) * (count - 1) / 2) AS rows
FROM (
  SELECT count(*) AS count, max(id) AS last, sum(id) AS total FROM ${users}
  UNION ALL
  SELECT count(*), max(id), sum(id) FROM ${items}
  UNION ALL
  SELECT count(*), max(domain_id), sum(domain_id) FROM ${domains}
)
