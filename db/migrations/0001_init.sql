-- The schema of Twinpay. Rules that hold for every table:
--   Keys are UUIDv7 made by the service. A merchant's tables have (merchant_id, id) as their primary key: the same
--   index finds one object, forbids another merchant's, and walks a list newest first (a backward scan).
--   Statuses are text with a named check: both drivers map it unforced, and a new value is a migration of one line.
--   JSON that must come back byte for byte (replies, event data) is text, never jsonb, which reorders members.
--   Times are parameters: the clock belongs to the service. Correctness rests on tokens and row locks, never on time.
--   A constraint's name is part of the contract: the stores turn names into domain errors.

create table merchants (
  id uuid not null,
  name text not null,
  fee_bps integer not null,
  fee_fixed bigint not null,
  amount_limit bigint not null,
  velocity_limit smallint,          -- authorisations of one card in 60 s; null: no limit
  created_at timestamptz not null,
  constraint merchants_pkey primary key (id),
  constraint merchants_fee_check check (fee_bps between 0 and 10000 and fee_fixed between 0 and 999999999999),
  constraint merchants_amount_limit_check check (amount_limit between 1 and 999999999999),
  constraint merchants_velocity_limit_check check (velocity_limit between 1 and 100)  -- bounds card_activity's array
);

create table api_keys (
  id uuid not null,
  merchant_id uuid not null,
  secret_sha256 bytea not null,
  created_at timestamptz not null,
  revoked_at timestamptz,
  constraint api_keys_pkey primary key (id),
  constraint api_keys_merchant_fkey foreign key (merchant_id) references merchants (id),
  constraint api_keys_secret_check check (octet_length(secret_sha256) = 32)
);

-- Insert-only. No foreign key to merchants here and below: every insert would lock the one merchant row (for key
-- share), and concurrent lockers of one row make multixacts, two a sale. Authentication has proved that it exists.
create table payment_tokens (
  merchant_id uuid not null,
  id uuid not null,
  card_fingerprint bytea not null,
  network_token text not null,
  brand text not null,
  last4 text not null,
  exp_month smallint not null,
  exp_year smallint not null,
  created_at timestamptz not null,
  constraint payment_tokens_pkey primary key (merchant_id, id),
  constraint payment_tokens_fingerprint_check check (octet_length(card_fingerprint) = 32),
  constraint payment_tokens_last4_check check (last4 ~ '^[0-9]{4}$'),
  constraint payment_tokens_expiry_check check (exp_month between 1 and 12 and exp_year between 2000 and 2100)
);

-- The velocity check. One row a card, so that the row's lock makes the count exact: a count over payments can't see
-- claims that run at the same moment.
create table card_activity (
  merchant_id uuid not null,
  card_fingerprint bytea not null,
  admitted_at timestamptz[] not null,   -- the last 60 s, at most velocity_limit of them
  last_operation_id uuid not null,      -- the last one admitted: tells a claim whether it was
  constraint card_activity_pkey primary key (merchant_id, card_fingerprint)
) with (fillfactor = 70);

-- pending_operation_id is the payment's lock. It lives in this row because READ COMMITTED re-checks a guard on the
-- row it waited for, and on nothing else. expires_at is null where there is nothing to expire, so the index on it
-- keeps captures HOT (an index on state, or one whose predicate names state, would not).
create table payments (
  merchant_id uuid not null,
  id uuid not null,
  payment_token_id uuid not null,
  amount bigint not null,
  currency text not null,
  capture_method text not null,
  merchant_reference text not null,
  description text,
  metadata jsonb not null,
  state text not null,
  decline_reason text,
  authorized bigint not null default 0,
  captured bigint not null default 0,
  refunded bigint not null default 0,
  version integer not null default 1,   -- goes up with each recorded change, not with a claim
  pending_operation_id uuid,
  expires_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint payments_pkey primary key (merchant_id, id),
  constraint payments_merchant_reference_key unique (merchant_id, merchant_reference),
  constraint payments_amount_check check (amount between 1 and 999999999999),
  constraint payments_currency_check check (currency in ('USD', 'EUR', 'GBP', 'JPY')),
  constraint payments_capture_method_check check (capture_method in ('automatic', 'manual')),
  constraint payments_state_check check (state in ('processing', 'authorized', 'partially_captured', 'captured',
    'declined')),
  constraint payments_totals_check check (0 <= refunded and refunded <= captured and captured <= authorized
    and authorized <= amount)
) with (fillfactor = 70);
create index payments_expires_at_idx on payments (expires_at) where expires_at is not null;

create table operations (
  merchant_id uuid not null,
  id uuid not null,
  payment_id uuid not null,
  kind text not null,
  state text not null,
  requested_amount bigint,              -- null: all that remains; the domain decides under the payment's lock
  final boolean,
  risk_blocked boolean not null default false,
  amount bigint,                        -- what was done; null while pending
  failure_reason text,
  lease_token bigint not null default 0, -- 0: the request that claimed it; each recovery adds 1
  leased_until timestamptz not null,
  traceparent text,
  created_at timestamptz not null,
  finished_at timestamptz,
  constraint operations_pkey primary key (merchant_id, id),
  constraint operations_payment_fkey foreign key (merchant_id, payment_id) references payments (merchant_id, id),
  constraint operations_kind_check check (kind in ('authorize', 'sale', 'capture')),
  constraint operations_state_check check (state in ('pending', 'succeeded', 'failed')),
  constraint operations_finished_check check ((state = 'pending') = (finished_at is null)),
  constraint operations_amount_check check (amount between 0 and 999999999999)
) with (fillfactor = 80);
-- The backstop behind payments.pending_operation_id: it never fires unless a statement is wrong.
create unique index operations_one_pending_key on operations (merchant_id, payment_id) where state = 'pending';
create index operations_lease_idx on operations (leased_until) where state = 'pending';

-- Both insert-only: a key is taken by one row and finished by another, so neither is ever updated.
create table idempotency_keys (
  merchant_id uuid not null,
  key text not null,
  request_hash bytea not null,
  operation_id uuid not null,           -- of the operation, or of the object that a single step made
  created_at timestamptz not null,
  constraint idempotency_keys_pkey primary key (merchant_id, key),
  constraint idempotency_keys_key_check check (length(key) between 1 and 255),
  constraint idempotency_keys_request_hash_check check (octet_length(request_hash) = 32)
);
create index idempotency_keys_created_at_idx on idempotency_keys (created_at);

create table idempotency_replies (
  operation_id uuid not null,
  status smallint not null,
  body text not null,
  constraint idempotency_replies_pkey primary key (operation_id)
);

-- Append-only: the service's role has no right to update or delete.
create table ledger_entries (
  merchant_id uuid not null,
  id uuid not null,
  operation_id uuid not null,           -- the journal
  account text not null,
  currency text not null,
  amount bigint not null,
  created_at timestamptz not null,
  constraint ledger_entries_pkey primary key (merchant_id, id),
  constraint ledger_entries_journal_key unique (merchant_id, operation_id, account), -- no operation is journalled twice
  constraint ledger_entries_operation_fkey foreign key (merchant_id, operation_id) references operations (merchant_id, id),
  constraint ledger_entries_account_check check (account in ('acquirer_receivable', 'merchant_payable', 'fee_income'))
);

-- A journal that doesn't sum to zero can't be written. Runs once a statement, not once a row.
create function ledger_entries_must_balance() returns trigger language plpgsql as $$
begin
  if exists (select from added group by merchant_id, operation_id, currency having sum(amount) <> 0) then
    raise exception using errcode = 'check_violation', constraint = 'ledger_entries_balance_check',
      message = 'a journal must sum to zero';
  end if;
  return null;
end $$;
create trigger ledger_entries_balance after insert on ledger_entries
  referencing new table as added for each statement execute function ledger_entries_must_balance();

-- Journals that the balances don't hold yet. A row moves from here into balances in one statement, so any snapshot
-- sees each journal exactly once. A watermark by id or time would lose journals that commit late.
create table ledger_tail (
  merchant_id uuid not null,
  operation_id uuid not null,
  constraint ledger_tail_pkey primary key (merchant_id, operation_id)
);

create table balances (
  merchant_id uuid not null,
  account text not null,
  currency text not null,
  amount bigint not null,
  constraint balances_pkey primary key (merchant_id, account, currency)
) with (fillfactor = 50);

-- What happened, waiting to be told. position is causal, not gap-free: a statement that began after another had
-- committed gets the higher one.
create table outbox (
  position bigint generated always as identity,
  merchant_id uuid not null,
  id uuid not null,
  operation_id uuid,
  type text not null,
  data text not null,
  traceparent text,
  created_at timestamptz not null,
  constraint outbox_pkey primary key (position)
);

-- Queues: their dead rows must go quickly, or each look scans them.
alter table outbox set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
alter table ledger_tail set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Raised by each migration; both services refuse to run on another version than the one they were built with.
create table schema_version (
  only_row boolean not null default true,
  version integer not null,
  constraint schema_version_pkey primary key (only_row),
  constraint schema_version_only_row_check check (only_row)
);
insert into schema_version (version) values (1);

-- Roles belong to the cluster, not to the database: databases that are made side by side race here.
do $$ begin
  create role twinpay_service login;
exception when duplicate_object or unique_violation then null;
end $$;
-- What the statements of db/queries need, and nothing else: no history can be changed, no object removed.
grant usage on schema public to twinpay_service;
grant select on schema_version, balances to twinpay_service;
grant select, insert on merchants, api_keys, payment_tokens, idempotency_keys, idempotency_replies, ledger_entries,
  ledger_tail, outbox to twinpay_service;
grant select, insert, update on card_activity, payments, operations to twinpay_service;
grant delete on operations to twinpay_service; -- reject_operation

-- Both drivers keep generic plans for the life of a connection. Made while a table is small, such a plan is a sequential
-- scan, and stays one until the next autoanalyze: a fresh database is slow for its first minute. Every statement of the
-- service has an index. Without one, a scan has a cost of 1e10, and Postgres would compile it: 75 ms for schema_version's
-- one row. In this database only: altering one role twice at once is an error.
do $$
declare
  setting text;
begin
  foreach setting in array array['enable_seqscan = off', 'plan_cache_mode = force_generic_plan',
    'default_transaction_isolation = ''read committed''', 'lock_timeout = ''1s''', 'statement_timeout = ''5s''',
    'jit = off'] loop
    execute format('alter role twinpay_service in database %I set %s', current_database(), setting);
  end loop;
end $$;
