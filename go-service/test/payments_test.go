package test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	paymentsv1 "twinpay.dev/payments/internal/gen/payments/v1"
)

const goodCard = "4242424242424242"

func TestASaleIsAnsweredOnceAndReplayedOnBothDoors(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	token := s.token(goodCard)
	first := s.must(201, s.post("k", "/v1/payments", paymentBody(token, "automatic", "r")))
	if first.member("state") != "captured" || strings.Contains(first.body, "expires_at") {
		t.Errorf("got %s", first.body)
	}
	again := s.must(201, s.post(`"k"`, "/v1/payments", paymentBody(token, "automatic", "r")))
	if again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" || first.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("the replay is %v %s, the first reply was %s", again.header, again.body, first.body)
	}
	if !strings.HasPrefix(again.header.Get("Request-Id"), "req_") || again.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers: %v", again.header)
	}
	s.refused(422, "IDEMPOTENCY_KEY_REUSED", s.post("k", "/v1/payments", paymentBody(token, "manual", "r")))
	s.refused(409, "DUPLICATE_REFERENCE", s.post("k2", "/v1/payments", paymentBody(token, "automatic", "r")))

	client := paymentsv1.NewPaymentServiceClient(s.grpc)
	var header metadata.MD
	replayed, err := client.CreatePayment(s.outgoing("k"), &paymentsv1.CreatePaymentRequest{
		Amount: proto.Int64(1000), Currency: proto.String("USD"), PaymentToken: &token, Capture: paymentsv1.CaptureMethod_CAPTURE_METHOD_AUTOMATIC.Enum(),
		MerchantReference: proto.String("r"),
	}, grpc.Header(&header))
	if err != nil || header.Get("idempotency-replayed")[0] != "true" || header.Get("request-id") == nil {
		t.Fatalf("over gRPC: %v, %v", header, err)
	}
	read, err := client.GetPayment(s.outgoing(""), &paymentsv1.GetPaymentRequest{Id: proto.String(first.member("id"))})
	if err != nil || !proto.Equal(read, replayed) || read.GetState() != paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED {
		t.Errorf("read %v, %v; replayed %v", read, err, replayed)
	}
	s.counts(1, 3, 3)
}

func TestAManualPaymentIsCapturedInPartsAndNoFurther(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	id := s.must(201, s.post("k", "/v1/payments", paymentBody(s.token(goodCard), "manual", "r"))).member("id")
	capture := "/v1/payments/" + id + "/capture"
	part := s.must(200, s.post("c1", capture, `{"amount":400}`))
	if part.member("state") != "partially_captured" || part.member("expires_at") == "" {
		t.Errorf("got %s", part.body)
	}
	tooMuch := s.refused(409, "AMOUNT_EXCEEDS_CAPTURABLE", s.post("c2", capture, `{"amount":601}`))
	again := s.post("c2", capture, `{"amount":601}`)
	if again.body != tooMuch.body || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the stored refusal is replayed as %v %s", again.header, again.body)
	}
	_, err := paymentsv1.NewPaymentServiceClient(s.grpc).CapturePayment(s.outgoing("c2"), &paymentsv1.CapturePaymentRequest{Id: &id, Amount: proto.Int64(601)})
	if info := errorInfo(t, err); status.Code(err) != codes.FailedPrecondition || info.GetMetadata()["payment_id"] != id {
		t.Errorf("over gRPC: %v %v", err, info)
	}
	whole := s.must(200, s.post("c3", capture, ""))
	if whole.member("state") != "captured" || whole.member("expires_at") != "" {
		t.Errorf("got %s", whole.body)
	}
	s.refused(409, "PAYMENT_STATE_INVALID", s.post("c4", capture, "{}"))
	s.counts(3, 6, 4)
}

func TestARefundIsToldAsItselfAndFoundAgain(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	id := s.must(201, s.post("k", "/v1/payments", paymentBody(s.token(goodCard), "automatic", "r"))).member("id")
	part := s.must(201, s.post("r", "/v1/payments/"+id+"/refunds", `{"amount":400,"reason":"late"}`))
	if part.member("state") != "succeeded" || part.member("reason") != "late" {
		t.Errorf("got %s", part.body)
	}
	if told := query[string](s, "select data from outbox where type = 'refund.succeeded'"); told != part.body {
		t.Errorf("told %s, answered %s", told, part.body)
	}
	if left := query[int64](s, "select sum(amount)::bigint from ledger_entries where account = 'acquirer_receivable'"); left != 600 {
		t.Errorf("the network owes %d", left)
	}
	s.refused(409, "AMOUNT_EXCEEDS_REFUNDABLE", s.post("m", "/v1/payments/"+id+"/refunds", `{"amount":601}`))
	s.counts(2, 5, 4)

	id = s.must(201, s.post("o", "/v1/payments", paymentBody(s.token("4000000000003097"), "automatic", "o"))).member("id")
	refused := s.refused(402, "OPERATION_REFUSED", s.post("x", "/v1/payments/"+id+"/refunds", `{"amount":5}`))
	if !strings.Contains(refused.body, `"refunded":0`) {
		t.Errorf("got %s", refused.body)
	}
	told := query[string](s, "select data from outbox where type = 'refund.failed'")
	if !strings.Contains(told, `"amount":5,"currency":"USD","state":"failed","failure_reason":"refused"`) {
		t.Errorf("told %s", told)
	}
}

func TestAPartThatIsFinalEndsThePayment(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	id := s.must(201, s.post("k", "/v1/payments", paymentBody(s.token(goodCard), "manual", "r"))).member("id")
	if final := s.must(200, s.post("c", "/v1/payments/"+id+"/capture", `{"amount":1,"final":true}`)); final.member("state") != "captured" {
		t.Errorf("got %s", final.body)
	}
}

func TestADeclineIsStoredWithItsPayment(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	token := s.token("4000000000000002")
	declined := s.refused(402, "CARD_DECLINED", s.post("k", "/v1/payments", paymentBody(token, "automatic", "r")))
	if declined.member("decline_reason") != "do_not_honor" || !strings.Contains(declined.body, `"payment":{"id":"pay_`) {
		t.Errorf("got %s", declined.body)
	}
	if again := s.post("k", "/v1/payments", paymentBody(token, "automatic", "r")); again.body != declined.body {
		t.Errorf("replayed as %s", again.body)
	}
	_, err := paymentsv1.NewPaymentServiceClient(s.grpc).CreatePayment(s.outgoing("k"), &paymentsv1.CreatePaymentRequest{
		Amount: proto.Int64(1000), Currency: proto.String("USD"), PaymentToken: &token, Capture: paymentsv1.CaptureMethod_CAPTURE_METHOD_AUTOMATIC.Enum(),
		MerchantReference: proto.String("r"),
	})
	info := errorInfo(t, err)
	if info.GetReason() != "CARD_DECLINED" || info.GetMetadata()["decline_reason"] != "do_not_honor" || !strings.HasPrefix(info.GetMetadata()["payment_id"], "pay_") {
		t.Errorf("over gRPC: %v %v", err, info)
	}
	s.counts(1, 0, 2)
}

func TestACaptureThatTheNetworkRefusesChangesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	id := s.must(201, s.post("k", "/v1/payments", paymentBody(s.token("4000000000003071"), "manual", "r"))).member("id")
	refused := s.refused(402, "OPERATION_REFUSED", s.post("c", "/v1/payments/"+id+"/capture", ""))
	if !strings.Contains(refused.body, `"state":"authorized"`) {
		t.Errorf("got %s", refused.body)
	}
	s.counts(2, 0, 3)
}

func TestRiskBlocksAnAmountAndANumberOfAttempts(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	s.merchant = s.must(201, s.admin("POST", "/v1/merchants", `{"name":"careful","amount_limit":1000,"velocity_limit":2}`)).member("id")
	s.key = s.must(201, s.admin("POST", "/v1/merchants/"+s.merchant+"/api_keys", "")).member("secret")
	token := s.token(goodCard)
	big := strings.Replace(paymentBody(token, "automatic", "big"), "1000", "1001", 1)
	blocked := s.refused(402, "RISK_BLOCKED", s.post("big", "/v1/payments", big))
	if !strings.Contains(blocked.body, `"decline_reason":"risk_blocked"`) || blocked.member("decline_reason") != "" {
		t.Errorf("got %s", blocked.body)
	}
	for i := range 2 {
		s.must(201, s.post(fmt.Sprint(i), "/v1/payments", paymentBody(token, "automatic", fmt.Sprint(i))))
	}
	s.refused(402, "RISK_BLOCKED", s.post("2", "/v1/payments", paymentBody(token, "automatic", "2")))
}

func TestOneKeyOf64ClientsOnBothDoorsHasOneEffect(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	token := s.token(goodCard)
	client := paymentsv1.NewPaymentServiceClient(s.grpc)
	var mu sync.Mutex
	bodies, messages := map[string]int{}, map[string]int{}
	var clients sync.WaitGroup
	for i := range 64 {
		clients.Go(func() {
			if i%2 == 0 {
				r := s.post("k", "/v1/payments", paymentBody(token, "automatic", "r"))
				if r.status != 201 {
					s.refused(409, "IDEMPOTENCY_IN_PROGRESS", r)
					return
				}
				mu.Lock()
				bodies[r.body]++
				mu.Unlock()
				return
			}
			message, err := client.CreatePayment(s.outgoing("k"), &paymentsv1.CreatePaymentRequest{
				Amount: proto.Int64(1000), Currency: proto.String("USD"), PaymentToken: &token, Capture: paymentsv1.CaptureMethod_CAPTURE_METHOD_AUTOMATIC.Enum(),
				MerchantReference: proto.String("r"),
			})
			if err != nil {
				if info := errorInfo(t, err); status.Code(err) != codes.Aborted || info.GetReason() != "IDEMPOTENCY_IN_PROGRESS" {
					t.Errorf("got %v", err)
				}
				return
			}
			mu.Lock()
			messages[message.String()]++
			mu.Unlock()
		})
	}
	clients.Wait()
	if len(bodies) > 1 || len(messages) > 1 || len(bodies)+len(messages) == 0 {
		t.Errorf("%d bodies and %d messages: %v %v", len(bodies), len(messages), bodies, messages)
	}
	s.counts(1, 3, 3)
}

func TestAnotherMerchantsPaymentIsNotFound(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	id := s.must(201, s.post("k", "/v1/payments", paymentBody(s.token(goodCard), "manual", "r"))).member("id")
	other := s.must(201, s.admin("POST", "/v1/merchants", `{"name":"other"}`)).member("id")
	s.key = s.must(201, s.admin("POST", "/v1/merchants/"+other+"/api_keys", "")).member("secret")
	s.refused(404, "RESOURCE_NOT_FOUND", s.send("GET", "/v1/payments/"+id, "", "Authorization", "Bearer "+s.key))
	s.refused(404, "RESOURCE_NOT_FOUND", s.post("c", "/v1/payments/"+id+"/capture", ""))
	s.refused(404, "RESOURCE_NOT_FOUND", s.post("c", "/v1/payments/not-an-id/capture", ""))
	s.refused(404, "RESOURCE_NOT_FOUND", s.admin("POST", "/v1/merchants/"+id+"/api_keys", ""))
}

func errorInfo(t *testing.T, err error) *errdetails.ErrorInfo {
	t.Helper()
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	t.Errorf("no ErrorInfo in %v", err)
	return nil
}
