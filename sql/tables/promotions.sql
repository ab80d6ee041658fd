-- One row a decision about what scoring reads. The last one that promoted a model for all domains holds, and in a domain
-- the last one since then that was about it.
CREATE TABLE ${table} (
  decided_at TIMESTAMP NOT NULL,
  domain_key STRING COMMENT 'the one domain that it is about; null: all',
  promoted BOOLEAN NOT NULL COMMENT 'false: the model was worse than what is served, which stays',
  model STRING NOT NULL COMMENT 'the framework',
  model_version STRING NOT NULL,
  table_version BIGINT NOT NULL COMMENT 'of samples',
  settings STRING NOT NULL COMMENT 'what the model was made with, as JSON',
  mean_domain_auc DOUBLE COMMENT 'on the test rows that both models can be compared on; null: they were not',
  mean_domain_auc_served DOUBLE COMMENT 'of the model that was served, on the same rows'
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
