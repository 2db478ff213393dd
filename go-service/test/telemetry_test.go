package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	paymentsv1 "twinpay.dev/payments/internal/gen/payments/v1"
)

// collector takes spans, as an OpenTelemetry Collector does.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	mu        sync.Mutex
	spans     []*tracev1.Span
	resources []string
}

func (c *collector) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range r.GetResourceSpans() {
		c.resources = append(c.resources, attributes(resource.GetResource().GetAttributes()))
		for _, scope := range resource.GetScopeSpans() {
			if scope.GetScope().GetName() != "payments" {
				c.resources = append(c.resources, "scope "+scope.GetScope().GetName())
			}
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

// tree draws the spans of a trace, in the order in which they began.
func (c *collector) tree(traceID string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.SortFunc(c.spans, func(a, b *tracev1.Span) int { return int(a.GetStartTimeUnixNano()) - int(b.GetStartTimeUnixNano()) })
	var draw func(parent, indent string) string
	draw = func(parent, indent string) string {
		drawn := ""
		for _, s := range c.spans {
			if fmt.Sprintf("%x", s.GetTraceId()) != traceID || fmt.Sprintf("%x", s.GetParentSpanId()) != parent {
				continue
			}
			kind := strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_"))
			drawn += fmt.Sprintf("%s%s %s %s{%s}\n", indent, s.GetName(), kind, strings.TrimPrefix(s.GetStatus().GetCode().String(), "STATUS_CODE_"), attributes(s.GetAttributes()))
			drawn += draw(fmt.Sprintf("%x", s.GetSpanId()), indent+"  ")
		}
		return drawn
	}
	return draw(callerSpan, "")
}

// attributes shows them sorted; of times, only that they are there.
func attributes(all []*commonv1.KeyValue) string {
	var shown []string
	for _, a := range all {
		value := a.GetValue().GetStringValue()
		if _, ok := a.GetValue().GetValue().(*commonv1.AnyValue_IntValue); ok {
			value = fmt.Sprint(a.GetValue().GetIntValue())
		} else if strings.HasSuffix(a.GetKey(), "_ms") {
			value = "_"
		}
		shown = append(shown, a.GetKey()+"="+value)
	}
	slices.Sort(shown)
	return strings.Join(shown, " ")
}

const callerSpan = "00f067aa0ba902b7"

func traceID(n int) string { return fmt.Sprintf("4bf92f3577b34da6a3ce929d0e0e%04x", n) }

func traceparent(n int) string { return "00-" + traceID(n) + "-" + callerSpan + "-01" }

func database(statement string) string {
	return fmt.Sprintf("%s client UNSET{db.query.summary=%s db.system.name=postgresql twinpay.db_wait_ms=_}\n", statement, statement)
}

func asked(method string) string {
	return fmt.Sprintf("acquirer.v1.AcquirerService/%s client UNSET{rpc.method=acquirer.v1.AcquirerService/%s rpc.response.status_code=OK rpc.system.name=grpc}\n", method, method)
}

func TestTheSpansOfEachOperation(t *testing.T) {
	t.Parallel()
	spans := &collector{}
	s := start(t, settings{otlp: spans.listen(t)})
	id := s.must(201, s.post("k", "/v1/payments", paymentBody(s.token(goodCard), "manual", "r"))).member("id")
	s.must(200, s.post("c", "/v1/payments/"+id+"/capture", `{"amount":1}`, "traceparent", traceparent(1)))
	s.must(201, s.post("t", "/v1/payment_tokens", cardBody(goodCard), "traceparent", traceparent(2)))
	ctx := metadata.AppendToOutgoingContext(s.outgoing("c2"), "traceparent", traceparent(3))
	if _, err := paymentsv1.NewPaymentServiceClient(s.grpc).CapturePayment(ctx, &paymentsv1.CapturePaymentRequest{Id: &id}); err != nil {
		t.Fatal(err)
	}
	s.refused(404, "ROUTE_NOT_FOUND", s.post("k", "/v1/nothing", "", "traceparent", traceparent(4)))
	unknown := s.must(201, s.post("t2", "/v1/payment_tokens", cardBody("4000000000003063"))).member("id")
	s.refused(504, "OUTCOME_UNKNOWN", s.post("u", "/v1/payments", paymentBody(unknown, "automatic", "u"), "traceparent", traceparent(5)))
	s.awaitReleased(1)
	s.advance(lease + time.Second)
	s.recover(1)
	if err := s.stop(); err != nil { // exports what is left
		t.Fatal(err)
	}
	want := map[int]string{
		1: "POST /v1/payments/{id}/capture server UNSET{http.request.method=POST http.response.status_code=200 http.route=/v1/payments/{id}/capture}\n" +
			"  " + database("claim_operation") + "  " + asked("Capture") + "  " + database("record_operation"),
		2: "POST /v1/payment_tokens server UNSET{http.request.method=POST http.response.status_code=201 http.route=/v1/payment_tokens}\n" +
			"  " + database("find_replay") + "  hash_pool.run internal UNSET{twinpay.wait_ms=_}\n  " + asked("ProvisionToken") + "  " + database("insert_payment_token"),
		3: "payments.v1.PaymentService/CapturePayment server UNSET{rpc.method=payments.v1.PaymentService/CapturePayment rpc.response.status_code=OK rpc.system.name=grpc}\n" +
			"  " + database("claim_operation") + "  " + asked("Capture") + "  " + database("record_operation"),
		4: "POST server UNSET{http.request.method=POST http.response.status_code=404 twinpay.reason=ROUTE_NOT_FOUND}\n",
		5: "POST /v1/payments server ERROR{error.type=OUTCOME_UNKNOWN http.request.method=POST http.response.status_code=504 http.route=/v1/payments twinpay.reason=OUTCOME_UNKNOWN}\n" +
			"  " + database("claim_payment") +
			"  acquirer.v1.AcquirerService/Sale client ERROR{error.type=INTERNAL rpc.method=acquirer.v1.AcquirerService/Sale rpc.response.status_code=INTERNAL rpc.system.name=grpc}\n" +
			"  " + database("release_operation"),
	}
	for n, tree := range want {
		if got := spans.tree(traceID(n)); got != tree {
			t.Errorf("got\n%swant\n%s", got, tree)
		}
	}
	if i := slices.IndexFunc(spans.spans, func(s *tracev1.Span) bool { return s.GetName() == "recovery.settle" }); i < 0 {
		t.Error("no span recovery.settle")
	} else if settle := spans.spans[i]; len(settle.GetLinks()) != 1 || fmt.Sprintf("%x", settle.GetLinks()[0].GetTraceId()) != traceID(5) || len(settle.GetParentSpanId()) != 0 {
		t.Errorf("recovery.settle: %v", settle)
	}
	for _, resource := range spans.resources {
		if !contains(resource, "service.name=payments-go") {
			t.Errorf("resource: %s", resource)
		}
	}
}

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
