-- Lists the domains that an earlier version of the table had and the newest lacks: --hivevar before=VERSION
SELECT before.domain_key, before.rows
FROM delta.`${root}/tables/domains` VERSION AS OF ${before} AS before
LEFT ANTI JOIN delta.`${root}/tables/domains` AS now USING (domain_key)
ORDER BY before.rows DESC, before.domain_key
