-- get_schema_version: which migration the database is at.
-- Always one row; on a database without the schema the statement fails with undefined_table.
select version
from schema_version
