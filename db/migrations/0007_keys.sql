-- A row that is named by its key is found by the whole key, also by a plan that was made in a new database. Of a table that was never
-- analysed Postgres thinks that a merchant has one row: then every index that begins with the merchant, and every partial one whose
-- predicate holds, seems as good as the key's own, and a plan made so is kept while the table grows. So no index beside those that
-- lists read begins with the merchant, and those of what is pending have a predicate that no statement on one operation repeats.
-- This doesn't help where a table was analysed while it was empty: until the next analyze all of its indexes cost the same.

alter table payments drop constraint payments_merchant_reference_key,
  add constraint payments_merchant_reference_key unique (merchant_reference, merchant_id);
alter table ledger_entries drop constraint ledger_entries_journal_key,
  add constraint ledger_entries_journal_key unique (operation_id, merchant_id, account);
alter table events drop constraint events_id_key,
  add constraint events_id_key unique (id, merchant_id);

-- finished_at is null as long as state is 'pending' (operations_finished_check).
drop index operations_one_pending_key, operations_lease_idx;
create unique index operations_one_pending_key on operations (payment_id, merchant_id) where finished_at is null;
create index operations_lease_idx on operations (leased_until) where finished_at is null;

update schema_version set version = 7;
