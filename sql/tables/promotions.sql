-- One row per decision about the model that scoring uses. The last model promoted for all domains is in force; in a
-- domain, the last model promoted for it since then.
CREATE TABLE ${table} (
  decided_at TIMESTAMP NOT NULL,
  domain_key STRING COMMENT 'the domain that the decision is about; null: all domains',
  promoted BOOLEAN NOT NULL COMMENT 'false: the model was worse than the served one, which stays',
  model STRING NOT NULL COMMENT 'the framework',
  model_version STRING NOT NULL,
  table_version BIGINT NOT NULL COMMENT 'version of the table samples',
  settings STRING NOT NULL COMMENT 'the settings of the model, as JSON',
  mean_domain_auc DOUBLE COMMENT 'on the test rows that both models can score; null: the models were not compared',
  mean_domain_auc_served DOUBLE COMMENT 'of the served model, on the same rows'
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
