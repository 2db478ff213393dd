-- A list reads an index in its order. Of a table that was never analysed Postgres thinks that a merchant has a handful of rows: it
-- would collect and sort them all, and keep that plan until the next autoanalyze.

do $$ begin
  execute format('alter role twinpay_service in database %I set enable_bitmapscan = off', current_database());
end $$;

update schema_version set version = 6;
