-- The users, items and domains of the samples exist in their tables.
SELECT
  'tables of users, items or domains that lack ids of the samples' AS problem,
  int(largest.user_id >= users.count) + int(largest.item_id >= items.count) + int(largest.domain_id >= domains.count)
    AS rows
FROM (SELECT max(user_id) AS user_id, max(item_id) AS item_id, max(domain_id) AS domain_id FROM ${samples}) AS largest
CROSS JOIN (SELECT count(*) AS count FROM ${users}) AS users
CROSS JOIN (SELECT count(*) AS count FROM ${items}) AS items
CROSS JOIN (SELECT count(*) AS count FROM ${domains}) AS domains
