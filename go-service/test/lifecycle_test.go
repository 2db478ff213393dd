package test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"twinpay.dev/payments/internal/app"
	"twinpay.dev/payments/test/testdb"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

// listServices asks reflection for the names of the services.
var listServices = &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}

func TestADrainFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	h := newHeld()
	s := start(t, settings{env: map[string]string{"ACQUIRER_URL": (&network{sale: h.sale}).listen(t)}})
	watch, err := healthv1.NewHealthClient(s.grpc).Watch(t.Context(), &healthv1.HealthCheckRequest{Service: "payments.v1.PaymentService"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := watch.Recv(); err != nil || got.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("watched %v, %v", got, err)
	}
	reflection, err := reflectionv1.NewServerReflectionClient(s.grpc).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := reflection.Send(listServices); err != nil {
		t.Fatal(err)
	}
	if _, err := reflection.Recv(); err != nil {
		t.Fatal(err)
	}
	body := paymentBody(s.token(goodCard), "automatic", "r")
	ended := make(chan reply, 1)
	go func() { ended <- s.post("k", "/v1/payments", body) }()
	<-h.begun
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	for err == nil { // perhaps that it doesn't serve any more, then the end
		_, err = watch.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("the watcher got %v", err)
	}
	if _, err := reflection.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a reflection stream got %v", err)
	}
	if ready := s.get("http://" + s.app.AdminAddr + "/readyz"); ready.status != 503 || ready.body != `{"status":"unready","reasons":["draining"]}` {
		t.Errorf("got %d %s", ready.status, ready.body)
	}
	close(h.release)
	s.must(201, <-ended)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestWhatADrainCutsOffIsTakenOverAtOnce(t *testing.T) {
	t.Parallel()
	h, spans := newHeld(), &collector{}
	defer close(h.release)
	env := map[string]string{"ACQUIRER_URL": (&network{sale: h.sale}).listen(t)}
	s := start(t, settings{env: env, otlp: spans.listen(t), drain: 50 * time.Millisecond})
	sold := s.sell(h)
	if err := s.stop(); err != nil {
		t.Errorf("ended with %v", err)
	}
	if got, ok := <-sold; ok {
		t.Errorf("the sale in flight got %d", got.status)
	}
	if logs := s.logs.String(); !contains(logs, "work was cut off") || contains(logs, "operation not released") {
		t.Errorf("logs: %s", logs)
	}
	if ours := query[bool](s, "select state = 'pending' and lease_token = 0 and leased_until <= now() from operations"); !ours {
		t.Error("the operation keeps its lease")
	}
	if !slices.ContainsFunc(spans.spans, func(s *tracev1.Span) bool { return s.GetName() == "release_operation" && len(s.GetParentSpanId()) > 0 }) {
		t.Error("no span release_operation in the request's trace")
	}
	other := start(t, settings{env: env, database: s.database})
	other.recover(1)
	if state := query[string](other, "select state from payments"); state != "captured" {
		t.Errorf("the payment is %s", state)
	}
}

func TestAnotherSchemaEndsTheService(t *testing.T) {
	t.Parallel()
	newer := testdb.Migrated(t)
	conn, err := pgx.Connect(t.Context(), newer.Owner)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "update schema_version set version = 99"); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(context.Background())
	for name, database := range map[string]testdb.Database{"a newer one": newer, "none": testdb.Empty(t)} {
		s := launch(t, settings{database: database, ends: true})
		if err := <-s.ended; !errors.Is(err, app.ErrSchema) || !contains(err.Error(), "payments migrate") {
			t.Errorf("%s: ended with %v", name, err)
		}
	}
}

func TestHealthAndReflectionOfEachService(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	client := healthv1.NewHealthClient(s.grpc)
	for _, name := range []string{"", "payments.v1.AdminService", "payments.v1.VaultService", "payments.v1.PaymentService"} {
		if got, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{Service: name}); err != nil || got.GetStatus() != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
	if _, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{Service: "x"}); status.Code(err) != codes.NotFound {
		t.Errorf("unknown service: %v", err)
	}
	unknown, err := client.Watch(t.Context(), &healthv1.HealthCheckRequest{Service: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := unknown.Recv(); err != nil || got.GetStatus() != healthv1.HealthCheckResponse_SERVICE_UNKNOWN {
		t.Errorf("unknown service: %v, %v", got, err)
	}
	reflection, err := reflectionv1.NewServerReflectionClient(s.grpc).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := reflection.Send(listServices); err != nil {
		t.Fatal(err)
	}
	if answer, err := reflection.Recv(); err != nil || !contains(answer.String(), "payments.v1.VaultService") {
		t.Errorf("got %v, %v", answer, err)
	}
	err = s.grpc.Invoke(t.Context(), "/payments.v1.PaymentService/ForgetPayment", listServices, &reflectionv1.ServerReflectionResponse{})
	if info := errorInfo(t, err); status.Code(err) != codes.Unimplemented || info.GetReason() != "ROUTE_NOT_FOUND" {
		t.Errorf("unknown method: %v", err)
	}
}
