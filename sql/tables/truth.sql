-- One row per domain of a synthetic log: the best AUC that a model can reach, that of the logits of the labels.
CREATE TABLE ${table} (
  domain_key STRING NOT NULL COMMENT 'as in the table domains',
  rows BIGINT NOT NULL,
  positives BIGINT NOT NULL,
  best_auc DOUBLE COMMENT 'null if the samples have one class'
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
