-- theta^i: what a domain adds to the shared parameters of one model. Values are little-endian floats, never pickles.
CREATE TABLE ${table} (
  model_version STRING NOT NULL COMMENT 'the model whose shared parameters it is added to, and the DR settings',
  domain_id INT NOT NULL,
  bucket INT NOT NULL,
  rounds INT NOT NULL COMMENT 'rounds of DR that validation kept; 0: theta^i = 0, and the values are empty',
  dense BINARY NOT NULL COMMENT 'the offsets of the dense parameters, concatenated in the order of the manifest',
  embeddings ARRAY<STRUCT<name: STRING, ids: ARRAY<BIGINT>, values: BINARY>> NOT NULL
    COMMENT 'by table: the rows that occur in the training data of the domain, and their offsets',
  rows_train BIGINT NOT NULL,
  rows_val BIGINT NOT NULL,
  val_auc_shared DOUBLE COMMENT 'of theta^S; null where validation has one class',
  val_auc DOUBLE COMMENT 'of theta^S + theta^i'
) USING DELTA
PARTITIONED BY (model_version)
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
