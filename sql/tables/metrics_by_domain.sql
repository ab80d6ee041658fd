-- One row per domain, model and evaluation.
CREATE TABLE ${table} (
  evaluated_at TIMESTAMP NOT NULL,
  model STRING NOT NULL,
  model_version STRING NOT NULL,
  domain_id INT NOT NULL,
  domain_key STRING NOT NULL,
  rows BIGINT NOT NULL,
  positives BIGINT NOT NULL,
  auc DOUBLE COMMENT 'null if undefined, because the rows have one class',
  logloss DOUBLE COMMENT 'null for popularity, whose scores are counts'
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
