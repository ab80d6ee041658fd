-- One row per category, or value of a list, of a feature: the key as written in the log, and its id: 1, 2, ...
CREATE TABLE ${table} (
  feature STRING NOT NULL,
  key STRING NOT NULL,
  id BIGINT NOT NULL COMMENT '0 stands for a missing value'
) USING DELTA
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.constraints.ids_from_one' = 'id >= 1'
)
