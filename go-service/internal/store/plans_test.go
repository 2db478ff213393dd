package store

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
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
	owner, err := pgx.Connect(t.Context(), database.Owner)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(context.Background())
	for _, statement := range fill {
		if _, err := owner.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return database
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
