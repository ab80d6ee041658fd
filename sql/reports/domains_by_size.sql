-- Groups domains by the order of magnitude of their samples: their number, share of the data and label rate, and how
-- many have no AUC because their test rows have one class.
SELECT
  CAST(pow(10, floor(log10(rows))) AS BIGINT) AS samples_from,
  count(*) AS domains,
  count_if(head) AS heads,
  sum(rows) AS samples,
  round(sum(rows) / sum(sum(rows)) OVER (), 4) AS share,
  round(sum(positives_train) / sum(rows_train), 3) AS label_rate,
  count_if(positives_test = 0 OR positives_test = rows_test) AS without_auc
FROM delta.`${root}/tables/domains`
GROUP BY ALL
ORDER BY samples_from
