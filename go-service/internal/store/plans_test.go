package store

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/telemetry"
	"twinpay.dev/payments/test/testdb"
)

// listed is how many objects of each list the first of two merchants has; many were made at the same instant.
const listed = 3000

// fill makes two merchants with their objects: the first's id ends with 1.
var fill = []string{
	`insert into merchants (id, name, fee_bps, fee_fixed, amount_limit, created_at)
	 select ('00000000-0000-7000-8000-00000000000' || n)::uuid, 'm', 0, 0, 1000, now() from generate_series(1, 2) n`,
	`insert into payment_tokens (merchant_id, id, card_fingerprint, network_token, brand, last4, exp_month, exp_year, created_at)
	 select id, id, decode(repeat('00', 32), 'hex'), 'n', 'visa', '4242', 1, 2030, now() from merchants`,
	fmt.Sprintf(`insert into payments (merchant_id, id, payment_token_id, amount, currency, capture_method, merchant_reference, metadata, state, created_at, updated_at)
	 select id, gen_random_uuid(), id, 1, 'USD', 'manual', n::text, '{}', (array['authorized', 'declined'])[1 + n %% 2], now(), now()
	 from merchants, generate_series(1, %d) n`, listed),
	`insert into operations (merchant_id, id, payment_id, kind, state, leased_until, created_at, finished_at)
	 select merchant_id, id, id, 'sale', 'succeeded', now(), now(), now() from payments`,
	`insert into ledger_entries (merchant_id, id, operation_id, account, currency, amount, created_at)
	 select merchant_id, gen_random_uuid(), id, e.account, 'USD', e.amount, now()
	 from operations, (values ('acquirer_receivable', 1), ('merchant_payable', -1)) as e (account, amount)`,
	`insert into ledger_tail (merchant_id, operation_id) select merchant_id, id from operations`,
	`insert into operations (merchant_id, id, payment_id, kind, state, amount, leased_until, created_at, finished_at)
	 select merchant_id, gen_random_uuid(), id, 'refund', 'succeeded', 1, now(), now(), now() from payments`,
	`insert into webhook_endpoints (merchant_id, id, url, created_at) select merchant_id, id, 'https://example.com', now() from payments`,
	`insert into events (merchant_id, sequence, id, type, data, created_at)
	 select merchant_id, merchant_reference::bigint, id, 'payment.created', '{}', now() from payments`,
}

func filled(t *testing.T) testdb.Database {
	database := testdb.Migrated(t)
	fillUp(t, database, fill)
	return database
}

func fillUp(t *testing.T, database testdb.Database, statements []string) {
	t.Helper()
	owner, err := pgx.Connect(t.Context(), database.Owner)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(context.Background())
	for _, statement := range statements {
		if _, err := owner.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// Under the settings of the service's role a list reads a page and no more, whatever is asked for and whatever Postgres knows of the tables.
func TestListsReadAnIndexInItsOrder(t *testing.T) {
	ctx := t.Context()
	database := filled(t)
	service, err := pgx.Connect(ctx, database.Service)
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close(context.Background())
	const merchant = "'00000000-0000-7000-8000-000000000001', "
	lists := map[prepared][]string{
		listWebhookEndpoints: {"null, 11", "gen_random_uuid(), 101"},
		listLedgerEntries:    {"null, null, 11", "gen_random_uuid(), 'fee_income', 101"},
		listEvents:           {"null, null, 11", "2000, 'payment.captured', 101"},
		listRefunds:          {"null, null, 11", "gen_random_uuid(), gen_random_uuid(), 101"},
		listPayments:         {"null, null, null, 11", "gen_random_uuid(), 'declined', null, 101", "null, null, gen_random_uuid(), 11"},
	}
	for s := range lists {
		name, sql, _ := s.describe()
		if _, err := service.Exec(ctx, "prepare "+name+" as "+sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, known := range []bool{false, true} {
		if known {
			owner, err := pgx.Connect(ctx, database.Owner)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := owner.Exec(ctx, "analyze"); err != nil {
				t.Fatal(err)
			}
			_ = owner.Close(ctx)
		}
		for s, asked := range lists {
			name, _, _ := s.describe()
			for _, values := range asked {
				var plan []struct{ Plan node }
				var text []byte
				if err := service.QueryRow(ctx, "explain (format json) execute "+name+"("+merchant+values+")").Scan(&text); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(text, &plan); err != nil {
					t.Fatal(err)
				}
				if kinds := plan[0].Plan.kinds(); !slices.ContainsFunc(kinds, isIndex) || slices.ContainsFunc(kinds, readsAll) || !fromCursor.Match(text) {
					t.Errorf("%s(%s), analysed %t: %v, %s", name, values, known, kinds, text)
				}
			}
		}
	}
}

// fromCursor is a plan that begins where the page does, and reads nothing newer.
var fromCursor = regexp.MustCompile(`"Index Cond": "[^"]* < `)

// node is a step of a plan.
type node struct {
	Kind  string `json:"Node Type"`
	Plans []node
}

func (n node) kinds() []string {
	kinds := []string{n.Kind}
	for _, inner := range n.Plans {
		kinds = append(kinds, inner.kinds()...)
	}
	return kinds
}

func isIndex(kind string) bool { return kind == "Index Scan" || kind == "Index Only Scan" }

func readsAll(kind string) bool {
	return slices.Contains([]string{"Seq Scan", "Bitmap Heap Scan", "Sort", "Incremental Sort", "Hash Join", "Merge Join"}, kind)
}

// busy adds to what fill made: a payment with a pending operation of its own id (a), one with a refund of its own id (b), an endpoint
// with one delivery (a), merchant 9 with nothing but events to publish, and thousands that a statement on one row has no business with.
var busy = []string{
	`insert into payments (merchant_id, id, payment_token_id, amount, currency, capture_method, merchant_reference, metadata, state, pending_operation_id, expires_at, created_at, updated_at)
	 select m.id, ('00000000-0000-7000-8000-00000000000' || x)::uuid, m.id, 1, 'USD', 'manual', x, '{}', 'authorized', case x when 'a' then m.id end, now(), now(), now()
	 from (select id from merchants order by id limit 1) m, unnest(array['a', 'b']) x`,
	`insert into operations (merchant_id, id, payment_id, kind, state, leased_until, created_at)
	 select merchant_id, case when merchant_reference = 'a' then id else gen_random_uuid() end, id, 'capture', 'pending', now(), now()
	 from payments where merchant_reference <> 'b'`,
	`insert into operations (merchant_id, id, payment_id, kind, state, amount, leased_until, created_at, finished_at)
	 select merchant_id, id, id, 'refund', 'succeeded', 1, now(), now(), now() from payments where merchant_reference = 'b'`,
	`insert into payment_tokens (merchant_id, id, card_fingerprint, network_token, brand, last4, exp_month, exp_year, created_at)
	 select merchant_id, id, decode(repeat('00', 32), 'hex'), 'n', 'visa', '4242', 1, 2030, now() from payments`,
	`insert into idempotency_keys (merchant_id, key, request_hash, operation_id, created_at)
	 select merchant_id, merchant_reference, decode(repeat('00', 32), 'hex'), id, now() from payments`,
	`insert into idempotency_replies (operation_id, status, body) select id, 201, '{}' from payments where merchant_reference <> 'a'`,
	`insert into api_keys (id, merchant_id, secret_sha256, created_at)
	 select id, merchant_id, decode(repeat('00', 32), 'hex'), now() from payments`,
	`insert into webhook_endpoints (merchant_id, id, url, created_at)
	 select m.id, ('00000000-0000-7000-8000-00000000000' || x)::uuid, 'https://example.com', now()
	 from (select id from merchants order by id limit 1) m, unnest(array['a', 'b']) x`,
	`insert into webhook_deliveries (merchant_id, endpoint_id, id, event_sequence, next_attempt_at, created_at)
	 select e.merchant_id, e.id, case when e.id::text like '%a' then e.id else gen_random_uuid() end, n, now(), now()
	 from webhook_endpoints e, generate_series(1, 3000) n
	 where e.id::text like '00000000-%a' and n = 1 or e.id::text like '00000000-%b'`,
	`delete from ledger_tail where (merchant_id, operation_id) <> (select merchant_id, operation_id from ledger_tail order by 1, 2 limit 1)`,
	`insert into outbox (merchant_id, id, type, data, created_at)
	 select '00000000-0000-7000-8000-000000000009', id, 'payment.created', '{}', now() from payments`,
}

// onFew is how each statement is asked for a row or two: by what it names, or by how many it may take.
var onFew = map[prepared]string{
	claimOperation:         ":m, 'new', decode(repeat('00', 32), 'hex'), :b, gen_random_uuid(), 'capture', 1, true, now(), now(), null, array['authorized'], null",
	claimPayment:           ":m, 'new', decode(repeat('00', 32), 'hex'), gen_random_uuid(), gen_random_uuid(), 'sale', :m, 1, 'USD', 'automatic', 'new', null, '{}', null, now(), now(), gen_random_uuid(), '{}', null",
	deleteWebhookEndpoint:  ":m, :a",
	expirePayments:         "array[:m], array[:b], array[1], array['expired'], array[gen_random_uuid()], array['{}'], now()",
	findAPIKey:             ":a",
	findExpiredPayments:    "now(), 1",
	findReplay:             ":m, 'a', decode(repeat('00', 32), 'hex')",
	getBalances:            ":m",
	getLastSequence:        ":m",
	getPayment:             ":m, :a",
	getPaymentToken:        ":m, :a",
	getRefund:              ":m, :b",
	getSchemaVersion:       "",
	insertAPIKey:           "gen_random_uuid(), :m, decode(repeat('00', 32), 'hex'), now()",
	insertMerchant:         "gen_random_uuid(), null, '', gen_random_uuid(), 'm', 0, 0, 1, null, now(), 201, '{}'",
	insertPaymentToken:     ":m, 'new', decode(repeat('00', 32), 'hex'), gen_random_uuid(), decode(repeat('00', 32), 'hex'), 'n', 'visa', '4242', 1, 2030, now(), 201, '{}'",
	insertWebhookEndpoint:  ":9, gen_random_uuid(), 'https://example.com', now(), 16",
	leaseDeliveries:        "now(), now(), 1, '{}'",
	leasePendingOperations: "now(), now(), 1",
	listEvents:             ":m, null, null, 1",
	listEventsAfter:        ":m, 1500, 1",
	listLedgerEntries:      ":m, null, null, 1",
	listPayments:           ":m, null, null, null, 1",
	listRefunds:            ":m, null, null, 1",
	listWebhookEndpoints:   ":m, null, 1",
	publishEvents:          ":a, now(), now() + interval '1 s', 1",
	recordDelivery:         ":a, :a, 0, 'succeeded', now(), 200, null, 1, now(), false",
	recordOperation:        ":m, :a, 0, 'succeeded', 1, null, 'captured', 1, 1, 0, null, null, now(), '{}', '{}', '{}', 'USD', '{}', '{}', '{}', 201, '{}'",
	rejectOperation:        ":m, :a, 0, 409, '{}'",
	releaseOperation:       ":m, :a, 0, now()",
	revokeAPIKey:           ":a, now()",
	rollUpBalances:         "1",
	sweepIdempotencyKeys:   "now(), 1",
}

// idle adds deliveries to what fill made: with those nothing is due, pending or about to expire, and all tables are known.
var idle = []string{
	`insert into webhook_deliveries (merchant_id, endpoint_id, id, event_sequence, state, next_attempt_at, created_at)
	 select merchant_id, id, id, 1, 'succeeded', now(), now() from webhook_endpoints`,
	`insert into idempotency_keys (merchant_id, key, request_hash, operation_id, created_at)
	 select merchant_id, id::text, decode(repeat('00', 32), 'hex'), gen_random_uuid(), now() from payments`,
	`insert into idempotency_replies (operation_id, status, body) select operation_id, 201, '{}' from idempotency_keys`,
	`analyze`,
}

// Plans that were made in an empty database that was never analysed, as a new one is, or while nothing was to do, still find each row by its
// whole key later. What the checks of foreign keys read counts as well.
func TestStatementsOnFewRowsReadFew(t *testing.T) {
	t.Run("planned in a new database", func(t *testing.T) { readFew(t, nil, slices.Concat(fill, busy)) })
	t.Run("planned while nothing was to do", func(t *testing.T) { readFew(t, slices.Concat(fill, idle), busy) })
}

func readFew(t *testing.T, before, after []string) {
	const most = 16
	ctx := t.Context()
	database := testdb.Migrated(t)
	fillUp(t, database, before)
	service, err := pgx.Connect(ctx, database.Service)
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close(context.Background())
	exec := func(sql string) {
		t.Helper()
		if _, err := service.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	ids := strings.NewReplacer(":m", id(1), ":9", id(9), ":a", id(10), ":b", id(11))
	asked := map[string]string{}
	for _, s := range all {
		name, sql, _ := s.describe()
		values, known := onFew[s]
		if !known {
			t.Errorf("%s: how is it asked?", name)
			continue
		}
		call := name
		if values != "" {
			call += "(" + ids.Replace(values) + ")"
		}
		exec("prepare " + name + " as " + sql)
		exec("explain execute " + call)
		asked[name] = call
	}
	fillUp(t, database, after)
	read := func() (rows int) {
		t.Helper()
		const fetched = "select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) from pg_stat_xact_user_tables"
		if err := service.QueryRow(ctx, fetched).Scan(&rows); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	for name, call := range asked {
		exec("begin")
		before := read() // it may hold what earlier transactions read
		tag, err := service.Exec(ctx, "execute "+call)
		if err != nil {
			t.Fatalf("%s: %v", call, err)
		}
		if rows := read() - before; tag.RowsAffected() == 0 || rows > most {
			t.Errorf("%s gives %d rows and reads %d, want some and at most %d", name, tag.RowsAffected(), rows, most)
		}
		exec("rollback")
	}
}

func id(last int) string { return fmt.Sprintf("'00000000-0000-7000-8000-00000000000%x'::uuid", last) }

// What is made while somebody pages through a list is told on no later page, and nothing that was there is left out or told twice.
func TestPagesHoldEverythingOnce(t *testing.T) {
	ctx := t.Context()
	database := filled(t)
	told, err := telemetry.New(ctx, "", nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open("requests", database.Service, 2, 5*time.Second, told)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	merchantID := uuid.MustParse("00000000-0000-7000-8000-000000000001")
	const newer = `insert into payments (merchant_id, id, payment_token_id, amount, currency, capture_method, merchant_reference, metadata, state, created_at, updated_at)
		select $1, ('ffffffff' || substr(gen_random_uuid()::text, 9))::uuid, $1, 1, 'USD', 'manual', gen_random_uuid()::text, '{}', 'declined', now(), now()`
	var before *uuid.UUID
	var seen []domain.Payment
	for {
		page, err := d.ListPayments(ctx, merchantID, before, nil, nil, 100)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, page...)
		if len(page) < 100 {
			break
		}
		before = &page[99].ID
		if _, err := d.pool.Exec(ctx, newer, merchantID); err != nil {
			t.Fatal(err)
		}
	}
	descending := slices.IsSortedFunc(seen, func(a, b domain.Payment) int { return slices.Compare(b.ID[:], a.ID[:]) })
	ids := map[uuid.UUID]bool{}
	for _, p := range seen {
		ids[p.ID] = true
	}
	if len(seen) != listed || len(ids) != listed || !descending {
		t.Errorf("%d payments, %d different, newest first: %t; want %d", len(seen), len(ids), descending, listed)
	}
}
