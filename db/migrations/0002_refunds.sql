-- Voids, refunds and the lapse of authorisations.

alter table payments drop constraint payments_state_check;
alter table payments add constraint payments_state_check check (state in ('processing', 'authorized',
  'partially_captured', 'captured', 'declined', 'voided', 'expired'));

alter table operations drop constraint operations_kind_check;
alter table operations add constraint operations_kind_check check (kind in ('authorize', 'sale', 'capture', 'void',
  'refund'));
alter table operations add column reason text;   -- of a refund, in the merchant's words
-- A refund is its operation: no row of its own that could disagree.
create index operations_refunds_idx on operations (merchant_id, id) where kind = 'refund';

update schema_version set version = 2;
