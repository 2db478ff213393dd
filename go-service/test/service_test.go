package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"twinpay.dev/payments/internal/app"
	"twinpay.dev/payments/internal/config"
	"twinpay.dev/payments/test/testdb"
)

const (
	adminToken = "admin-token-of-the-tests-0123456789"
	lease      = 4 * time.Second
)

// settings are what a test may set otherwise.
type settings struct {
	database testdb.Database   // none: a new one
	env      map[string]string // without the prefix
	otlp     string
	ends     bool          // by itself
	drain    time.Duration // none: 10 s
}

// service is a service that runs in this process, with a merchant.
type service struct {
	t        *testing.T
	app      *app.App
	database testdb.Database
	logs     *lockedBuffer
	offset   *atomic.Int64 // of the clock, in nanoseconds
	key      string        // the merchant's credential
	merchant string
	grpc     *grpc.ClientConn
	stop     func() error // drains; what Run returned
	ended    chan error
}

// start runs a service that is ready, with a merchant.
func start(t *testing.T, s settings) *service {
	t.Helper()
	svc := launch(t, s)
	svc.awaitReady()
	svc.addMerchant()
	return svc
}

// launch runs a service.
func launch(t *testing.T, s settings) *service {
	t.Helper()
	if s.database.Service == "" {
		s.database = testdb.Migrated(t)
	}
	env := environment(s)
	c, err := config.Load(func(name string) (string, bool) {
		if name == "OTEL_EXPORTER_OTLP_ENDPOINT" {
			return s.otlp, s.otlp != ""
		}
		value, ok := env[strings.TrimPrefix(name, "TWINPAY_")]
		return value, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	svc := &service{t: t, database: s.database, logs: &lockedBuffer{}, offset: &atomic.Int64{}}
	now := func() time.Time { return time.Now().Add(time.Duration(svc.offset.Load())) }
	if svc.app, err = app.New(t.Context(), c, app.Options{Now: now, Logs: svc.logs, DrainTimeout: s.drain}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	svc.ended = make(chan error, 1)
	go func() { svc.ended <- svc.app.Run(ctx) }()
	svc.stop = sync.OnceValue(func() error { cancel(); return <-svc.ended })
	t.Cleanup(func() {
		if s.ends {
			cancel()
		} else if err := svc.stop(); err != nil {
			t.Errorf("the service ended with %v", err)
		}
		if t.Failed() {
			t.Log(svc.logs.String())
		}
	})
	svc.grpc, err = grpc.NewClient(svc.app.GRPCAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = svc.grpc.Close() })
	return svc
}

// environment is that of a service, without the prefix.
func environment(s settings) map[string]string {
	env := map[string]string{
		"DATABASE_URL": s.database.Service, "ACQUIRER_URL": "http://" + acquirerAddr, "ADMIN_TOKEN": adminToken, "PEPPER": strings.Repeat("07", 32),
		"HTTP_ADDR": "127.0.0.1:0", "GRPC_ADDR": "127.0.0.1:0", "ADMIN_ADDR": "127.0.0.1:0", "HASH_ITERATIONS": "1", "HASH_WAIT_MS": "5000",
		"DATABASE_WAIT_MS": "5000", "WEBHOOK_MASTER": strings.Repeat("0b", 32),
	}
	maps.Copy(env, s.env)
	return env
}

// addMerchant makes the merchant whose credential the requests have.
func (s *service) addMerchant() {
	s.t.Helper()
	s.merchant = s.must(201, s.admin("POST", "/v1/merchants", `{"name":"m"}`)).member("id")
	s.key = s.must(201, s.admin("POST", "/v1/merchants/"+s.merchant+"/api_keys", "")).member("secret")
}

// advance moves the service's clock.
func (s *service) advance(d time.Duration) { s.offset.Add(int64(d)) }

// recover makes one step of the recovery, and checks how many operations it settled.
func (s *service) recover(want int) {
	s.t.Helper()
	if got, err := s.app.Workers.Recovery.Step(s.t.Context()); err != nil || got != want {
		s.t.Fatalf("the recovery settled %d, %v; want %d", got, err, want)
	}
}

// awaitReleased waits until so many operations are released: the client's answer doesn't wait for that, and the recovery skips a row that is
// being written. A release that failed leaves the lease as it was.
func (s *service) awaitReleased(want int64) {
	s.t.Helper()
	const released = "select count(*) from operations where state = 'pending' and leased_until <> created_at + $1::interval"
	for query[int64](s, released, lease.String()) < want && !contains(s.logs.String(), "operation not released") {
		if s.t.Context().Err() != nil {
			s.t.Fatal("never released")
		}
	}
}

func (s *service) awaitReady() {
	s.t.Helper()
	for {
		answer := s.get("http://" + s.app.AdminAddr + "/readyz")
		if answer.status == http.StatusOK {
			return
		}
		if s.t.Context().Err() != nil {
			s.t.Fatal("never ready")
		}
	}
}

// reply is an HTTP response.
type reply struct {
	t      *testing.T
	status int
	header http.Header
	body   string
}

// member is a text of the body's object.
func (r reply) member(name string) string {
	r.t.Helper()
	var members map[string]any
	if err := json.Unmarshal([]byte(r.body), &members); err != nil {
		r.t.Fatalf("%s: %v", r.body, err)
	}
	text, _ := members[name].(string)
	return text
}

// must checks a status.
func (s *service) must(status int, r reply) reply {
	s.t.Helper()
	if r.status != status {
		s.t.Fatalf("got %d %s, want %d", r.status, r.body, status)
	}
	return r
}

// refused checks a status and a reason.
func (s *service) refused(status int, reason string, r reply) reply {
	s.t.Helper()
	if r.status != status || r.member("reason") != reason {
		s.t.Errorf("got %d %s, want %d %s", r.status, r.body, status, reason)
	}
	return r
}

// send makes a request; headers are name, value, name, value.
func (s *service) send(method, path, body string, headers ...string) reply {
	s.t.Helper()
	request, err := http.NewRequest(method, "http://"+s.app.HTTPAddr+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	return s.do(request)
}

func (s *service) do(request *http.Request) reply {
	s.t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{s.t, response.StatusCode, response.Header, string(read)}
}

func (s *service) get(url string) reply {
	s.t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.do(request)
}

func (s *service) admin(method, path, body string, headers ...string) reply {
	s.t.Helper()
	return s.send(method, path, body, append(headers, "Authorization", "Bearer "+adminToken)...)
}

// post is a request of the merchant under a key.
func (s *service) post(key, path, body string, headers ...string) reply {
	s.t.Helper()
	return s.send(http.MethodPost, path, body, append(headers, "Authorization", "Bearer "+s.key, "Idempotency-Key", key)...)
}

// sell sends a sale of the key k that the network holds, and returns once it does. The channel gets the reply; it is closed without one where
// the connection is cut.
func (s *service) sell(h *held) <-chan reply {
	s.t.Helper()
	body := paymentBody(s.token(goodCard), "automatic", "r")
	request, err := http.NewRequest(http.MethodPost, "http://"+s.app.HTTPAddr+"/v1/payments", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + s.key}, "Idempotency-Key": {"k"}}
	ended := make(chan reply, 1)
	go func() {
		defer close(ended)
		if response, err := http.DefaultClient.Do(request); err == nil {
			_ = response.Body.Close()
			ended <- reply{t: s.t, status: response.StatusCode}
		}
	}()
	<-h.begun
	return ended
}

// token makes a payment token for a card.
func (s *service) token(number string) string {
	s.t.Helper()
	return s.must(201, s.post("token-"+number, "/v1/payment_tokens", cardBody(number))).member("id")
}

func cardBody(number string) string {
	return fmt.Sprintf(`{"card":{"number":%q,"exp_month":12,"exp_year":2090,"cvc":"737"}}`, number)
}

// paymentBody is a payment of 1000 USD whose reference is the key.
func paymentBody(token, capture, reference string) string {
	return fmt.Sprintf(`{"amount":1000,"currency":"USD","payment_token":%q,"capture":%q,"merchant_reference":%q}`, token, capture, reference)
}

// outgoing is the metadata of a gRPC call of the merchant.
func (s *service) outgoing(key string) context.Context {
	return metadata.AppendToOutgoingContext(s.t.Context(), "authorization", "Bearer "+s.key, "idempotency-key", key)
}

// query reads one value as the owner.
func query[T any](s *service, sql string, args ...any) T {
	s.t.Helper()
	conn, err := pgx.Connect(context.Background(), s.database.Owner)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var value T
	if err := conn.QueryRow(context.Background(), sql, args...).Scan(&value); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// execute runs a statement as the owner.
func (s *service) execute(sql string, args ...any) {
	s.t.Helper()
	conn, err := pgx.Connect(context.Background(), s.database.Owner)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), sql, args...); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// counts checks what a test has left in the database.
func (s *service) counts(operations, entries, events int64) {
	s.t.Helper()
	for _, c := range []struct {
		table string
		want  int64
	}{{"operations", operations}, {"ledger_entries", entries}, {"outbox", events}} {
		if got := query[int64](s, "select count(*) from "+c.table); got != c.want {
			s.t.Errorf("%d rows in %s, want %d", got, c.table, c.want)
		}
	}
	if got := query[int64](s, "select coalesce(sum(amount), 0)::bigint from ledger_entries"); got != 0 {
		s.t.Errorf("the ledger sums to %d", got)
	}
}

// lockedBuffer takes the logs.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
