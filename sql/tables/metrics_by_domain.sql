-- One row a domain, model and evaluation.
CREATE TABLE ${table} (
  evaluated_at TIMESTAMP NOT NULL,
  model STRING NOT NULL,
  model_version STRING NOT NULL,
  domain_id INT NOT NULL,
  domain_key STRING NOT NULL,
  rows BIGINT NOT NULL,
  positives BIGINT NOT NULL,
  auc DOUBLE COMMENT 'null where the rows have one class, so that it is undefined',
  logloss DOUBLE NOT NULL
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
