-- One row per model and evaluation.
CREATE TABLE ${table} (
  evaluated_at TIMESTAMP NOT NULL,
  model STRING NOT NULL COMMENT 'the framework of theta^S, or the frameworks of theta^S and theta^i',
  model_version STRING NOT NULL,
  table_version BIGINT NOT NULL COMMENT 'version of the table samples',
  split STRING NOT NULL,
  rows BIGINT NOT NULL,
  domains_scored INT NOT NULL COMMENT 'number of domains with a defined AUC',
  domains_undefined INT NOT NULL COMMENT 'number of domains whose rows have one class',
  mean_domain_auc DOUBLE COMMENT 'mean over the domains scored',
  weighted_auc DOUBLE COMMENT 'mean over the domains scored, weighted by rows',
  auc DOUBLE COMMENT 'AUC over all rows',
  logloss DOUBLE COMMENT 'mean over all rows; null for popularity, whose scores are counts'
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
