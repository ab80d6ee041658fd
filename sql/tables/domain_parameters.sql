-- One row per model and domain: theta^i, which is added to the shared parameters theta^S of the model. Values are
-- little-endian floats, never pickles.
CREATE TABLE ${table} (
  model_version STRING NOT NULL COMMENT 'names the model with theta^S, and the settings of the adaptation',
  domain_id INT NOT NULL,
  bucket INT NOT NULL,
  rounds INT NOT NULL COMMENT 'rounds of adaptation, chosen on validation rows; 0: theta^i = 0, without values',
  dense BINARY NOT NULL COMMENT 'the offsets of the dense parameters, concatenated in the order of the manifest',
  embeddings ARRAY<STRUCT<name: STRING, ids: ARRAY<BIGINT>, values: BINARY>> NOT NULL
    COMMENT 'by table: ids in the training rows of the domain, and the offsets of their rows',
  rows_train BIGINT NOT NULL,
  rows_val BIGINT NOT NULL,
  val_auc_shared DOUBLE COMMENT 'AUC of theta^S on the validation rows; null if these have one class',
  val_auc DOUBLE COMMENT 'AUC of theta^S + theta^i on the same rows'
) USING DELTA
PARTITIONED BY (model_version)
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
