package test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	paymentsv1 "twinpay.dev/payments/internal/gen/payments/v1"
)

func TestAnUnknownOutcomeIsSettledByTheRecovery(t *testing.T) {
	t.Parallel()
	for _, card := range []struct{ name, number, timeout string }{
		{"the reply is lost", "4000000000003063", "5000"},
		{"no reply comes", "4000000000003055", "300"},
	} {
		s := start(t, settings{})
		token := s.token(card.number)
		body := paymentBody(token, "automatic", "r")
		s.refused(504, "OUTCOME_UNKNOWN", s.post("k", "/v1/payments", body, "Request-Timeout-Ms", card.timeout))
		s.refused(409, "IDEMPOTENCY_IN_PROGRESS", s.post("k", "/v1/payments", body))
		s.awaitReleased(1)
		s.advance(lease + time.Second)
		s.recover(1)
		s.recover(0)
		settled := s.must(201, s.post("k", "/v1/payments", body))
		if settled.member("state") != "captured" || settled.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: %v %s", card.name, settled.header, settled.body)
		}
		s.counts(1, 3, 3)
	}
}

func TestAVoidAndARefundAreSettledAsTheyWereAskedFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ capture, verb, body, want string }{
		{"manual", "void", "{}", `"state":"voided"`},
		{"automatic", "refunds", `{"amount":7,"reason":"late"}`, `"amount":7,"currency":"USD","state":"succeeded","reason":"late"`},
	} {
		s := start(t, settings{env: map[string]string{"ACQUIRER_URL": (&network{sale: sell}).listen(t)}})
		id := s.must(201, s.post("k", "/v1/payments", paymentBody(s.token(goodCard), c.capture, "r"))).member("id")
		path := "/v1/payments/" + id + "/" + c.verb
		s.refused(504, "OUTCOME_UNKNOWN", s.post("o", path, c.body))
		s.awaitReleased(1)
		s.advance(lease + time.Second)
		s.recover(1)
		settled := s.post("o", path, c.body)
		if !strings.Contains(settled.body, c.want) || settled.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: %v %s", c.verb, settled.header, settled.body)
		}
	}
}

func TestAnOperationOfAnUnknownKindIsLeftToOthers(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	token := s.token("4000000000003063")
	for _, key := range []string{"a", "b"} {
		s.refused(504, "OUTCOME_UNKNOWN", s.post(key, "/v1/payments", paymentBody(token, "automatic", key)))
	}
	s.awaitReleased(2)
	s.execute("alter table operations drop constraint operations_kind_check")
	s.execute("update operations set kind = 'chargeback' where payment_id = (select id from payments where merchant_reference = 'a')")
	s.advance(lease + time.Second)
	s.recover(1)
	if state := query[string](s, "select state from payments where merchant_reference = 'a'"); state != "processing" {
		t.Errorf("the payment is %s", state)
	}
	if logs := s.logs.String(); !contains(logs, "an operation that this program can't read stays pending") {
		t.Errorf("logs: %s", logs)
	}
	s.must(201, s.post("b", "/v1/payments", paymentBody(token, "automatic", "b")))
}

func TestAnOutcomeThatTheClientDidntWaitForIsSettledAsDeclined(t *testing.T) {
	t.Parallel()
	h := newHeld()
	s := start(t, settings{env: map[string]string{"ACQUIRER_URL": (&network{sale: h.sale}).listen(t)}})
	body := paymentBody(s.token(goodCard), "automatic", "r")
	s.refused(504, "OUTCOME_UNKNOWN", s.post("k", "/v1/payments", body, "Request-Timeout-Ms", "100"))
	s.awaitReleased(1)
	s.advance(lease + time.Second)
	s.recover(1)
	s.must(201, s.post("k", "/v1/payments", body))
	close(h.release)
}

func TestALateWriterChangesNothingAndAnswersTheReplyOfTheOther(t *testing.T) {
	t.Parallel()
	h := newHeld()
	s := start(t, settings{env: map[string]string{"ACQUIRER_URL": (&network{sale: h.sale}).listen(t)}})
	body := paymentBody(s.token(goodCard), "automatic", "r")
	late := make(chan reply, 1)
	go func() { late <- s.post("k", "/v1/payments", body) }()
	<-h.begun
	s.advance(lease + time.Second)
	s.recover(1)
	settled := s.must(201, s.post("k", "/v1/payments", body))
	close(h.release)
	if got := <-late; got.status != 201 || got.body != settled.body || got.header.Get("Idempotency-Replayed") != "" { // it is its own reply
		t.Errorf("the late request got %d %v %s, the other %s", got.status, got.header, got.body, settled.body)
	}
	if token := query[int64](s, "select lease_token from operations"); token != 1 {
		t.Errorf("the lease's token is %d", token)
	}
	if version := query[int32](s, "select version from payments"); version != 2 {
		t.Errorf("the payment was changed %d times", version-1)
	}
	s.counts(1, 3, 3)
}

func TestAPaymentIsBusyWhileItsOperationIsPending(t *testing.T) {
	t.Parallel()
	h := newHeld()
	s := start(t, settings{env: map[string]string{"ACQUIRER_URL": (&network{sale: h.sale}).listen(t)}})
	body := paymentBody(s.token(goodCard), "automatic", "r")
	ended := make(chan reply, 1)
	go func() { ended <- s.post("k", "/v1/payments", body) }()
	<-h.begun
	id := query[string](s, "select id::text from payments")
	if got := query[string](s, "select state from payments where id = $1", id); got != "processing" {
		t.Errorf("the payment is %s", got)
	}
	again := s.refused(409, "IDEMPOTENCY_IN_PROGRESS", s.post("k", "/v1/payments", body))
	if again.header.Get("Retry-After") != "1" {
		t.Errorf("headers: %v", again.header)
	}
	close(h.release)
	s.must(201, <-ended)
}

func TestAClientThatGoesAwayDoesntEndItsPayment(t *testing.T) {
	t.Parallel()
	h := newHeld()
	s := start(t, settings{env: map[string]string{"ACQUIRER_URL": (&network{sale: h.sale}).listen(t)}})
	token := s.token(goodCard)
	ctx, cancel := context.WithCancel(s.outgoing("k"))
	gone := make(chan error, 1)
	request := &paymentsv1.CreatePaymentRequest{
		Amount: proto.Int64(1000), Currency: proto.String("USD"), PaymentToken: &token, Capture: paymentsv1.CaptureMethod_CAPTURE_METHOD_AUTOMATIC.Enum(),
		MerchantReference: proto.String("r"),
	}
	client := paymentsv1.NewPaymentServiceClient(s.grpc)
	go func() {
		_, err := client.CreatePayment(ctx, request)
		gone <- err
	}()
	<-h.begun
	cancel()
	if err := <-gone; status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
	close(h.release)
	if err := s.stop(); err != nil { // waits for what moves money
		t.Fatal(err)
	}
	if state := query[string](s, "select state from payments"); state != "captured" {
		t.Errorf("the payment is %s", state)
	}
}

func TestAClientThatGoesAwayIsNoFailure(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	n := &network{provision: func(ctx context.Context) error {
		asked <- struct{}{}
		<-ctx.Done() // the service has seen that its client has gone
		return ctx.Err()
	}}
	spans := &collector{}
	s := start(t, settings{otlp: spans.listen(t), env: map[string]string{"ACQUIRER_URL": n.listen(t), "LOG_LEVEL": "debug"}})
	for door, call := range map[string]func(context.Context) error{
		"HTTP": func(ctx context.Context) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.app.HTTPAddr+"/v1/payment_tokens", strings.NewReader(cardBody(goodCard)))
			if err != nil {
				return err
			}
			request.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + s.key}, "Idempotency-Key": {"k"}}
			_, err = http.DefaultClient.Do(request)
			return err
		},
		"gRPC": func(ctx context.Context) error {
			_, err := paymentsv1.NewVaultServiceClient(s.grpc).CreatePaymentToken(ctx, &paymentsv1.CreatePaymentTokenRequest{Card: &paymentsv1.Card{
				Number: proto.String(goodCard), ExpMonth: proto.Int32(12), ExpYear: proto.Int32(2090), Cvc: proto.String("123"),
			}})
			return err
		},
	} {
		ctx, cancel := context.WithCancel(s.outgoing("k"))
		gone := make(chan error, 1)
		go func() { gone <- call(ctx) }()
		<-asked
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) && status.Code(err) != codes.Canceled {
			t.Errorf("%s: got %v", door, err)
		}
	}
	if err := s.stop(); err != nil { // waits for both requests
		t.Fatal(err)
	}
	logs := s.logs.String()
	if strings.Count(logs, "the client has gone") != 2 || contains(logs, "request failed") || contains(logs, `"status":"INTERNAL"`) {
		t.Errorf("logs: %s", logs)
	}
	for _, span := range spans.spans {
		if strings.HasSuffix(span.GetName(), "CreatePaymentToken") || span.GetName() == "POST /v1/payment_tokens" {
			if span.GetStatus().GetCode() == tracev1.Status_STATUS_CODE_ERROR {
				t.Errorf("failed: %v", span)
			}
		}
	}
}

func TestAnEmptyNetworkTokenIsNoToken(t *testing.T) {
	t.Parallel()
	s := start(t, settings{env: map[string]string{"ACQUIRER_URL": (&network{noToken: true}).listen(t)}})
	s.refused(503, "ACQUIRER_UNAVAILABLE", s.post("k", "/v1/payment_tokens", cardBody(goodCard)))
	if got := query[int64](s, "select count(*) from payment_tokens"); got != 0 {
		t.Errorf("%d tokens are stored", got)
	}
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	n := &network{provision: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
	s := start(t, settings{env: map[string]string{"ACQUIRER_URL": n.listen(t)}})
	s.refused(504, "DEADLINE_EXCEEDED", s.post("k", "/v1/payment_tokens", cardBody(goodCard), "Request-Timeout-Ms", "200"))
	s.refused(504, "DEADLINE_EXCEEDED", s.post("k", "/v1/payment_tokens", cardBody(goodCard), "Request-Timeout-Ms", "0"))
	malformed := s.refused(400, "VALIDATION_FAILED", s.post("k", "/v1/payment_tokens", cardBody(goodCard), "Request-Timeout-Ms", "1s"))
	if want := `"violations":[{"field":"Request-Timeout-Ms","reason":"MALFORMED","description":"is malformed"}]`; !contains(malformed.body, want) {
		t.Errorf("got %s", malformed.body)
	}
	ctx, cancel := context.WithTimeout(s.outgoing("k"), 200*time.Millisecond)
	defer cancel()
	_, err := paymentsv1.NewVaultServiceClient(s.grpc).CreatePaymentToken(ctx, &paymentsv1.CreatePaymentTokenRequest{Card: &paymentsv1.Card{
		Number: proto.String(goodCard), ExpMonth: proto.Int32(12), ExpYear: proto.Int32(2090), Cvc: proto.String("123"),
	}})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("over gRPC: %v", err)
	}
}

// unsettled are sales whose answer was lost, none of them due; their references count from 0.
func unsettled(t *testing.T, count int, otlp string) (*service, asks) {
	t.Helper()
	asked := make(asks, count)
	s := start(t, settings{otlp: otlp, env: map[string]string{"ACQUIRER_URL": (&network{sale: asked.sale}).listen(t), "LEASE_MS": "60000"}})
	token := s.token(goodCard)
	for i := range count {
		paid := make(chan reply, 1)
		go func() {
			paid <- s.post(fmt.Sprint(i), "/v1/payments", paymentBody(token, "automatic", fmt.Sprint(i)), "traceparent", traceparent(9))
		}()
		(<-asked).approve <- false
		s.refused(504, "OUTCOME_UNKNOWN", <-paid)
	}
	for query[int64](s, "select count(*) from operations where leased_until > created_at + interval '30 seconds'") > 0 {
	}
	s.execute("update operations set leased_until = now() + interval '1 hour'")
	return s, asked
}

// due makes those due whose reference is like this.
func (s *service) due(reference string) {
	s.t.Helper()
	s.execute("update operations set leased_until = now() where payment_id in (select id from payments where merchant_reference like $1)", reference)
}

func (s *service) pending() int64 {
	s.t.Helper()
	return query[int64](s, "select count(*) from operations where state = 'pending'")
}

// runRecovery runs the recovery until it is told to stop; the channel is closed when it has.
func (s *service) runRecovery() (stop func(), stopped <-chan struct{}) {
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.app.Workers.Recovery.Run(ctx)
	}()
	return cancel, ended
}

func TestAnAskThatHangsDelaysNoOtherOperationAndIsFinishedAfterTheStop(t *testing.T) {
	t.Parallel()
	s, asked := unsettled(t, 2, "")
	stop, stopped := s.runRecovery()
	s.due("0")
	hanging := <-asked
	s.due("1")
	(<-asked).approve <- true
	for s.pending() == 2 {
	}
	if err := hanging.ctx.Err(); err != nil {
		t.Errorf("the second had to wait for the first: %v", err)
	}
	stop()
	if got := s.pending(); got != 1 {
		t.Errorf("%d operations are pending, want the first", got)
	}
	select {
	case <-stopped:
		t.Error("it left the first behind")
	default:
	}
	hanging.approve <- true
	<-stopped
	if got := s.pending(); got != 0 {
		t.Errorf("%d operations are pending", got)
	}
	s.counts(2, 6, 6)
}

func TestNoMoreIsLeasedThanThereArePlaces(t *testing.T) {
	t.Parallel()
	s, asked := unsettled(t, 52, "")
	leased := func(want int64) {
		t.Helper()
		if got := query[int64](s, "select count(*) from operations where lease_token > 0"); got != want {
			t.Errorf("%d operations were leased, want %d", got, want)
		}
	}
	stop, stopped := s.runRecovery()
	s.due("%")
	var held []ask
	for range 50 {
		held = append(held, <-asked)
	}
	leased(50)
	held[0].approve <- true
	held = append(held[1:], <-asked)
	leased(51)
	for _, a := range held {
		a.approve <- true
	}
	(<-asked).approve <- true
	stop()
	<-stopped
	if got := s.pending(); got != 0 {
		t.Errorf("%d operations are pending", got)
	}
}

func TestTheRecoveryAsksUnderATraceOfItsOwn(t *testing.T) {
	t.Parallel()
	spans := &collector{}
	for _, otlp := range []string{"", spans.listen(t)} {
		s, asked := unsettled(t, 1, otlp)
		s.due("0")
		traceparent := make(chan string, 1)
		go func() {
			a := <-asked
			traceparent <- a.traceparent
			a.approve <- true
		}()
		s.recover(1)
		if got := <-traceparent; len(got) != len("00--"+"-00")+32+16 || contains(got, traceID(9)) {
			t.Errorf("exporting to %q: asked under %q", otlp, got)
		}
	}
}

func TestAFullHashPoolIsOverload(t *testing.T) {
	t.Parallel()
	s := start(t, settings{env: map[string]string{"HASH_ITERATIONS": "200000", "HASH_PERMITS": "1", "HASH_QUEUE": "0", "HASH_WAIT_MS": "0"}})
	const clients = 16
	replies := make(chan reply, clients)
	for i := range clients {
		go func() { replies <- s.post(fmt.Sprint(i), "/v1/payment_tokens", cardBody(goodCard)) }()
	}
	made, shed := 0, 0
	for range clients {
		switch r := <-replies; r.status {
		case 201:
			made++
		default:
			s.refused(503, "OVERLOADED", r)
			shed++
		}
	}
	if made == 0 || shed == 0 {
		t.Errorf("%d made, %d shed", made, shed)
	}
	metrics := s.get("http://" + s.app.AdminAddr + "/metrics").body
	if want := fmt.Sprintf(`twinpay_admission_rejected_total{reason="hash_queue"} %d`, shed); !contains(metrics, want) {
		t.Errorf("no %s in %s", want, metrics)
	}
}
