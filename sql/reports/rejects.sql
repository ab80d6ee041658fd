-- What could not be used, by the column and reason, with one such row.
SELECT column, reason, count(*) AS rows, min(row) AS example
FROM delta.`${root}/tables/rejects`
GROUP BY column, reason
ORDER BY rows DESC, column, reason
