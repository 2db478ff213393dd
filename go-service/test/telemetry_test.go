package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	paymentsv1 "twinpay.dev/payments/internal/gen/payments/v1"
)

// collector takes spans, as an OpenTelemetry Collector does. Which spans there are is `loadtest golden`'s business.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []*tracev1.Span
}

func (c *collector) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range r.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

func (c *collector) listen(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, c)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return "http://" + listener.Addr().String()
}

const callerSpan = "00f067aa0ba902b7"

func traceID(n int) string { return fmt.Sprintf("4bf92f3577b34da6a3ce929d0e0e%04x", n) }

func traceparent(n int) string { return "00-" + traceID(n) + "-" + callerSpan + "-01" }

func TestATraceIsHandedOnAndStoredThoughNothingIsExported(t *testing.T) {
	t.Parallel()
	h := newHeld()
	close(h.release)
	seen := make(chan string, 1)
	n := &network{provision: func(ctx context.Context) error {
		incoming, _ := metadata.FromIncomingContext(ctx)
		seen <- strings.Join(incoming.Get("traceparent"), ",")
		return nil
	}, sale: h.sale}
	s := start(t, settings{env: map[string]string{"ACQUIRER_URL": n.listen(t), "LOG_LEVEL": "debug"}})
	token := s.must(201, s.post("t", "/v1/payment_tokens", cardBody(goodCard), "traceparent", traceparent(7))).member("id")
	if got := <-seen; got != traceparent(7) {
		t.Errorf("the network was given %q", got)
	}
	s.must(201, s.post("k", "/v1/payments", paymentBody(token, "automatic", "r"), "traceparent", traceparent(8)))
	if got := query[string](s, "select traceparent from operations"); got != traceparent(8) {
		t.Errorf("stored %q", got)
	}
	s.refused(405, "METHOD_NOT_ALLOWED", s.send("POST", "/livez", ""))
	metrics := s.get("http://" + s.app.AdminAddr + "/metrics").body
	for _, want := range []string{`twinpay_db_pool_in_use{pool="requests"} 0`, `twinpay_db_pool_in_use{pool="workers"} 0`} {
		if !contains(metrics, want) {
			t.Errorf("no %s in %s", want, metrics)
		}
	}
	if contains(metrics, "/livez") {
		t.Errorf("/livez in %s", metrics)
	}
	for line := range strings.Lines(s.logs.String()) {
		var entry struct {
			Timestamp, Level, Message, Route string
			TraceID                          string `json:"trace_id"`
			SpanID                           string `json:"span_id"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Timestamp == "" || entry.Message == "" || entry.Level != strings.ToLower(entry.Level) {
			t.Errorf("%v in %s", err, line)
		}
		if entry.Route == "/v1/payments" && entry.TraceID != traceID(8) {
			t.Errorf("not in its trace: %s", line)
		}
	}
}

func TestNoSecretIsInLogsSpansMetricsOrTables(t *testing.T) {
	t.Parallel()
	spans := &collector{}
	s := start(t, settings{otlp: spans.listen(t), env: map[string]string{"LOG_LEVEL": "debug"}})
	const number, cvc = "4111110000000112", "7391"
	body := strings.Replace(cardBody(number), "737", cvc, 1)
	s.post("a", "/v1/payment_tokens", body)
	s.post("b", "/v1/payment_tokens", body+"}")
	s.post("c", "/v1/payment_tokens", strings.Replace(body, `"number"`, `"numbers"`, 1))
	s.post("d", "/v1/payment_tokens", strings.Replace(body, number, number+"x", 1))
	s.post("e", "/v1/payments/"+number+"/capture", body)
	_, _ = paymentsv1.NewVaultServiceClient(s.grpc).CreatePaymentToken(s.outgoing("f"), &paymentsv1.CreatePaymentTokenRequest{Card: &paymentsv1.Card{
		Number: proto.String(number), ExpMonth: proto.Int32(12), ExpYear: proto.Int32(2090), Cvc: proto.String(cvc),
	}})
	metrics := s.get("http://" + s.app.AdminAddr + "/metrics").body
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{"logs": s.logs.String(), "metrics": metrics, "spans": fmt.Sprint(spans.spans), "tables": s.dump()}
	for where, text := range seen {
		if len(text) < 100 {
			t.Errorf("nothing to search in the %s: %q", where, text)
		}
		for _, secret := range []string{number, s.key[len(s.key)-64:], adminToken} {
			if contains(text, secret) {
				t.Errorf("%s in the %s", secret, where)
			}
		}
		if contains(text, `"`+cvc) {
			t.Errorf("the cvc is in the %s", where)
		}
	}
}

// dump is all that is in the database, as text.
func (s *service) dump() string {
	s.t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.database.Owner)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, _ := conn.Query(ctx, "select tablename::text from pg_tables where schemaname = 'public'")
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		s.t.Fatal(err)
	}
	dump := ""
	for _, table := range tables {
		rows, _ := conn.Query(ctx, "select t::text from "+table+" t")
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			s.t.Fatal(err)
		}
		dump += table + "\n" + strings.Join(lines, "\n") + "\n"
	}
	return dump
}
