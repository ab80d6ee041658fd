-- The keys of categories and of the values of lists, as the user wrote them, and their ids: 1, 2, ... by feature.
CREATE TABLE ${table} (
  feature STRING NOT NULL,
  key STRING NOT NULL,
  id BIGINT NOT NULL COMMENT '0 is left for a missing value'
) USING DELTA
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.constraints.ids_from_one' = 'id >= 1'
)
