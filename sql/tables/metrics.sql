-- One row a model and evaluation.
CREATE TABLE ${table} (
  evaluated_at TIMESTAMP NOT NULL,
  model STRING NOT NULL COMMENT 'the framework: how theta^S was learned, or that and what a domain adds',
  model_version STRING NOT NULL,
  table_version BIGINT NOT NULL COMMENT 'of samples',
  split STRING NOT NULL,
  rows BIGINT NOT NULL,
  domains_scored INT NOT NULL COMMENT 'domains with a defined AUC',
  domains_undefined INT NOT NULL COMMENT 'domains whose rows have one class',
  mean_domain_auc DOUBLE COMMENT 'over the domains scored',
  weighted_auc DOUBLE COMMENT 'the same, weighted by rows',
  auc DOUBLE COMMENT 'over all rows',
  logloss DOUBLE NOT NULL COMMENT 'mean over all rows'
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
