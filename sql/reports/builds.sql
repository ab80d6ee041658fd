-- Lists the builds, newest first, with the versions of the tables that belong together.
SELECT built_at, path, source_version, latest, to_json(versions) AS versions
FROM delta.`${root}/tables/builds`
ORDER BY built_at DESC
