-- Counts the rejected rows of the log by column and reason, with an example.
SELECT column, reason, count(*) AS rows, min(row) AS example
FROM delta.`${root}/tables/rejects`
GROUP BY column, reason
ORDER BY rows DESC, column, reason
