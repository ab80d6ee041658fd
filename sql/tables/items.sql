-- One row per item: the key as written in the log, the features as numbers, and the id: 0, 1, 2, ... without gaps.
CREATE TABLE ${table} (
  key STRING NOT NULL,
  ${features}
  id BIGINT NOT NULL
) USING DELTA
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.constraints.ids_from_zero' = 'id >= 0'
)
