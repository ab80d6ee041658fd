-- What the best possible model reaches on a synthetic log: the AUC of the logits that the labels were drawn from.
CREATE TABLE ${table} (
  domain_key STRING NOT NULL COMMENT 'as in domains',
  rows BIGINT NOT NULL,
  positives BIGINT NOT NULL,
  best_auc DOUBLE COMMENT 'null where the samples have one class'
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
