package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"twinpay.dev/db"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/telemetry"
)

const (
	// maxAttempts bounds the retries of a statement that Postgres undid because of another one: a third failure is load, not chance.
	maxAttempts = 3
	// connectTimeout bounds a connection attempt, so that a black hole doesn't keep a pool's slot for minutes.
	connectTimeout = 2 * time.Second
	// forever is how long a connection may live and idle: to make another one costs a request more than it is worth.
	forever = 100 * 365 * 24 * time.Hour
	// cleanupTimeout is how long a connection whose statement was cut off keeps its place in the pool; pgx itself would give it 15 s.
	cleanupTimeout = 1500 * time.Millisecond
)

// DB is a pool of connections. Requests and workers have one each, so that neither can starve the other.
type DB struct {
	pool         *pgxpool.Pool
	wait         time.Duration
	telemetry    *telemetry.Telemetry
	mismatch     chan struct{}
	mismatchOnce sync.Once
}

// Open makes a pool; it doesn't connect. wait bounds how long a request's first statement waits for a connection.
// Its metrics name it requests or workers.
func Open(name, url string, connections int32, wait time.Duration, t *telemetry.Telemetry) (*DB, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = connections
	config.MaxConnLifetime, config.MaxConnIdleTime = forever, forever
	config.ConnConfig.ConnectTimeout = connectTimeout
	config.ConnConfig.RuntimeParams["application_name"] = "payments"
	// A ping on acquire would be a second round trip.
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	// Without it pgx takes a UUID for text first, and fails and tries again for every parameter.
	config.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		pgxuuid.Register(conn.TypeMap())
		return nil
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, err
	}
	if err := t.ObservePool(name, func() int64 { return int64(pool.Stat().AcquiredConns()) }); err != nil {
		return nil, err
	}
	return &DB{pool: pool, wait: wait, telemetry: t, mismatch: make(chan struct{})}, nil
}

// Close waits for the statements that run and closes all connections.
func (d *DB) Close() { d.pool.Close() }

// Mismatch is closed when the schema was seen to be missing or of another version than the embedded migrations: the service is of no use any
// more.
func (d *DB) Mismatch() <-chan struct{} { return d.mismatch }

func (d *DB) reportMismatch() { d.mismatchOnce.Do(func() { close(d.mismatch) }) }

type schemaVersionRow struct{ Version int32 }

var getSchemaVersion = newStatement[schemaVersionRow]("get_schema_version", unseen)

// CheckSchema asks for the schema's version. It fails where the database can't be asked, or has another version.
func (d *DB) CheckSchema(ctx context.Context) error {
	row, found, err := getSchemaVersion.one(ctx, d)
	if err != nil {
		return err
	}
	if want := len(db.Migrations()); !found || int(row.Version) != want {
		d.reportMismatch()
		return fmt.Errorf("the schema is at version %d, not %d", row.Version, want)
	}
	return nil
}

// traits say how a statement is run and what its failures mean.
type traits uint8

const (
	opens  traits = 1 << iota // a request's first statement: it waits for a connection no longer than DB.wait
	writes                    // a lost answer may hide a change
	unseen                    // no part of a request's trace
)

// statement is a file of db/queries whose rows are Ts.
type statement[T any] struct {
	name, sql string
	traits    traits
	span      []trace.SpanStartOption
	measured  metric.MeasurementOption
	failed    map[failure]metric.MeasurementOption
}

func newStatement[T any](name string, t traits) *statement[T] {
	attributes := []attribute.KeyValue{telemetry.DBSystem.String("postgresql"), telemetry.DBSummary.String(name)}
	s := &statement[T]{
		name: name, sql: db.Query(name), traits: t,
		span:     []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...)},
		measured: metric.WithAttributeSet(attribute.NewSet(attributes...)),
		failed:   map[failure]metric.MeasurementOption{},
	}
	for _, f := range []failure{constraint, late, unclear, undone, broken} {
		s.failed[f] = metric.WithAttributeSet(attribute.NewSet(append(slices.Clone(attributes), telemetry.ErrorType.String(string(f)))...))
	}
	return s
}

// one runs the statement and reports whether there was a row.
func (s *statement[T]) one(ctx context.Context, d *DB, args ...any) (row T, found bool, err error) {
	rows, err := s.all(ctx, d, args...)
	if err != nil || len(rows) == 0 {
		return row, false, err
	}
	return rows[0], true, nil
}

// all runs the statement on one connection, again where Postgres undid it because of another one. Its errors are domain errors, or internal.
func (s *statement[T]) all(ctx context.Context, d *DB, args ...any) ([]T, error) {
	span := noSpan
	if s.traits&unseen == 0 {
		ctx, span = d.telemetry.Start(ctx, s.name, s.span...)
		defer span.End()
	}
	conn, err := s.acquire(ctx, d, span)
	if err != nil {
		telemetry.Fail(span, string(noConnection))
		return nil, domain.Because(tooLateOr(ctx, domain.ReasonOverloaded), err)
	}
	defer release(conn)

	began := time.Now()
	var collected []T
	for range maxAttempts {
		rows, _ := conn.Query(ctx, s.sql, args...) // CollectRows returns its error, too
		if collected, err = pgx.CollectRows(rows, pgx.RowToStructByName[T]); !undoneByOthers(err) {
			break
		}
	}
	took := time.Since(began).Seconds()
	if err == nil {
		d.telemetry.DBDuration.Record(ctx, took, s.measured)
		return collected, nil
	}
	kind, err := s.classify(ctx, d, err, conn.Conn().IsClosed())
	d.telemetry.DBDuration.Record(ctx, took, s.failed[kind])
	telemetry.Fail(span, string(kind))
	return nil, err
}

var noSpan = trace.SpanFromContext(context.Background())

// acquire waits for a connection; a request's first statement, no longer than DB.wait.
func (s *statement[T]) acquire(ctx context.Context, d *DB, span trace.Span) (*pgxpool.Conn, error) {
	request := ctx
	if s.traits&opens != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.wait)
		defer cancel()
	}
	began := time.Now()
	conn, err := d.pool.Acquire(ctx)
	waited := time.Since(began)
	d.telemetry.DBPoolWait.Record(ctx, waited.Seconds())
	if span.IsRecording() {
		span.SetAttributes(telemetry.DBWait.Float64(telemetry.Milliseconds(waited)))
	}
	switch {
	case err == nil || request.Err() != nil:
	case ctx.Err() != nil:
		d.telemetry.Reject(ctx, "database_wait")
	default:
		d.telemetry.Log.WarnContext(ctx, "can't connect to the database", "error", err)
	}
	return conn, err
}

// release gives the connection back. One whose statement was cut off is being closed by pgx, which first asks a server that may not answer;
// then the connection is cut, so that its place is free for another.
func release(conn *pgxpool.Conn) {
	pg := conn.Conn().PgConn()
	if !pg.IsClosed() {
		conn.Release()
		return
	}
	go func() {
		timer := time.NewTimer(cleanupTimeout)
		defer timer.Stop()
		select {
		case <-pg.CleanupDone():
		case <-timer.C:
			_ = pg.Conn().Close() // it is of no use any more
		}
		conn.Hijack()
	}()
}

// failure is what went wrong with a statement, in the words that spans and metrics have for it.
type failure string

const (
	noConnection failure = "no_connection" // nothing was sent
	late         failure = "late"          // the deadline passed before anything was sent
	unclear      failure = "unclear"       // sent, and the deadline passed or the connection broke before an answer
	undone       failure = "undone"        // Postgres undid it because of load or a fault of its own, not because of the statement
	constraint   failure = "constraint"    // so it is undone
	broken       failure = "broken"        // Postgres, or the row, says that the statement is wrong
)

// reasons are those of the constraints that a request can break.
var reasons = map[string]domain.Reason{
	"payments_merchant_reference_key": domain.ReasonDuplicateReference,
}

const codeUndefinedTable = "42P01"

// undoneCodes: time-outs of statements and locks, serialisation, read-only, resources.
var undoneCodes = []string{"57014", "55P03", "40001", "40P01", "25006", "53000", "53100", "53200", "53300", "53400"}

// goingCodes: the backend goes, and may have committed before it did.
var goingCodes = []string{"57P01", "57P02", "57P03", "57P05"}

func undoneByOthers(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}

// classify turns an error into what it means for the request: shed before anything was written, too late, or unclear.
func (s *statement[T]) classify(ctx context.Context, d *DB, err error, closed bool) (failure, error) {
	var pg *pgconn.PgError
	answered := errors.As(err, &pg)
	switch {
	case answered && pg.ConstraintName != "":
		if reason, ok := reasons[pg.ConstraintName]; ok {
			err = domain.Because(reason, err)
		}
		return constraint, err
	case answered && slices.Contains(undoneCodes, pg.Code):
		return undone, domain.Because(domain.ReasonOverloaded, err)
	case answered && pg.Code == codeUndefinedTable:
		d.reportMismatch()
		return broken, err
	case !answered && pgconn.SafeToRetry(err):
		return late, domain.Because(tooLateOr(ctx, domain.ReasonOverloaded), err)
	case answered && (slices.Contains(goingCodes, pg.Code) || strings.HasPrefix(pg.Code, "08")), !answered && closed:
		if s.traits&writes != 0 {
			return unclear, domain.Because(domain.ReasonOutcomeUnknown, err)
		}
		return unclear, domain.Because(tooLateOr(ctx, domain.ReasonOverloaded), err)
	}
	return broken, err
}

func tooLateOr(ctx context.Context, reason domain.Reason) domain.Reason {
	if ctx.Err() != nil {
		return domain.ReasonDeadlineExceeded
	}
	return reason
}
