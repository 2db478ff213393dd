package store

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"twinpay.dev/db"

	"twinpay.dev/payments/test/testdb"
)

// prepared is what the test needs to know of a statement, whatever its rows are.
type prepared interface {
	describe() (name, sql string, row reflect.Type)
}

func (s *statement[T]) describe() (string, string, reflect.Type) {
	return s.name, s.sql, reflect.TypeFor[T]()
}

// all are the statements of this package; the service runs no others.
var all = []prepared{
	claimOperation, claimPayment, deleteWebhookEndpoint, expirePayments, findAPIKey, findExpiredPayments, findReplay, getBalances, getLastSequence, getPayment,
	getPaymentToken, getRefund, getSchemaVersion, insertAPIKey, insertMerchant, insertPaymentToken, insertWebhookEndpoint, leaseDeliveries,
	leasePendingOperations, listEvents, listEventsAfter, listLedgerEntries, listPayments, listRefunds, listWebhookEndpoints, publishEvents, recordDelivery, recordOperation, rejectOperation,
	releaseOperation, revokeAPIKey, rollUpBalances, sweepIdempotencyKeys,
}

// goTypes are the types that a column may be collected into.
var goTypes = map[uint32][]reflect.Type{
	pgtype.UUIDOID:        {reflect.TypeFor[uuid.UUID]()},
	pgtype.TextOID:        {reflect.TypeFor[string](), reflect.TypeFor[[]byte]()},
	pgtype.ByteaOID:       {reflect.TypeFor[[]byte]()},
	pgtype.BoolOID:        {reflect.TypeFor[bool]()},
	pgtype.Int2OID:        {reflect.TypeFor[int16]()},
	pgtype.Int4OID:        {reflect.TypeFor[int32]()},
	pgtype.Int8OID:        {reflect.TypeFor[int64]()},
	pgtype.TimestamptzOID: {reflect.TypeFor[time.Time]()},
	pgtype.JSONBOID:       {reflect.TypeFor[map[string]string]()},
}

func TestEveryStatementHasTheColumnsOfItsRow(t *testing.T) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, testdb.Migrated(t).Service)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var names []string
	for _, s := range all {
		name, sql, row := s.describe()
		names = append(names, name)
		description, err := conn.Prepare(ctx, name, sql)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		fields := map[string]reflect.Type{}
		fieldsOf(row, fields)
		for _, column := range description.Fields {
			field, ok := fields[column.Name]
			if !ok {
				t.Errorf("%s: no field for column %s", name, column.Name)
				continue
			}
			delete(fields, column.Name)
			if !slices.ContainsFunc(goTypes[column.DataTypeOID], func(want reflect.Type) bool { return sameKind(field, want) }) {
				t.Errorf("%s: column %s of type %d is collected into a %s", name, column.Name, column.DataTypeOID, field)
			}
		}
		for field := range fields {
			t.Errorf("%s: no column for field %s", name, field)
		}
	}
	for _, name := range db.Queries() {
		if name != "check_invariants" && !slices.Contains(names, name) { // that one is run by the owner
			t.Errorf("%s isn't used", name)
		}
	}
}

// fieldsOf maps the columns' names to the fields' types, without the pointers that stand for null.
func fieldsOf(row reflect.Type, fields map[string]reflect.Type) {
	for field := range row.Fields() {
		if field.Anonymous {
			fieldsOf(field.Type, fields)
			continue
		}
		name := field.Tag.Get("db")
		if name == "" {
			name = snake(field.Name)
		}
		kind := field.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		fields[name] = kind
	}
}

func sameKind(field, want reflect.Type) bool {
	return field == want || field.Kind() == reflect.String && want.Kind() == reflect.String
}

func snake(name string) string {
	var snake strings.Builder
	for i, c := range name {
		if i > 0 && c >= 'A' && c <= 'Z' && !(name[i-1] >= 'A' && name[i-1] <= 'Z') {
			snake.WriteByte('_')
		}
		snake.WriteRune(c)
	}
	return strings.ToLower(snake.String())
}
