package test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	paymentsv1 "twinpay.dev/payments/internal/gen/payments/v1"
)

func TestAKeyThatAsksTooOftenIsToldSoOverBothDoors(t *testing.T) {
	t.Parallel()
	s := start(t, settings{env: map[string]string{"RATE_LIMIT": "1", "RATE_BURST": "3"}})
	ask := func() reply { return s.send("GET", "/v1/payments/pay_x", "", "Authorization", "Bearer "+s.key) }
	served := 0
	for ; ask().status == 404; served++ {
	}
	if served < 3 {
		t.Errorf("%d requests were served at once", served)
	}
	limited := ask()
	for ; limited.status == 404; limited = ask() {
	}
	s.refused(429, "RATE_LIMITED", limited)
	if limited.header.Get("Retry-After") != "1" {
		t.Errorf("headers: %v", limited.header)
	}
	get := func() error {
		_, err := paymentsv1.NewPaymentServiceClient(s.grpc).GetPayment(s.outgoing(""), &paymentsv1.GetPaymentRequest{Id: proto.String("pay_x")})
		return err
	}
	err := get()
	for ; status.Code(err) == codes.NotFound; err = get() {
	}
	told := status.Convert(err)
	var retry *errdetails.RetryInfo
	for _, detail := range told.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			retry = info
		}
	}
	if told.Code() != codes.ResourceExhausted || retry.GetRetryDelay().AsDuration().Seconds() != 1 {
		t.Errorf("got %v", told.Proto())
	}
	if metrics := s.get("http://" + s.app.AdminAddr + "/metrics").body; !contains(metrics, `twinpay_admission_rejected_total{reason="rate_limit"}`) {
		t.Errorf("metrics: %s", metrics)
	}
	s.addMerchant() // the administrator isn't limited
	s.must(404, ask())
}

func TestABodyThatComesTooSlowlyIsRefusedAndItsConnectionClosed(t *testing.T) {
	t.Parallel()
	s := start(t, settings{env: map[string]string{"BODY_TIMEOUT_MS": "50"}})
	head := "POST /v1/merchants HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + adminToken + "\r\n"
	for _, sent := range []string{"Content-Length: 12\r\n\r\n", "Content-Length: 12\r\n\r\n{\"name\"", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"} {
		conn, err := net.Dial("tcp", s.app.HTTPAddr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, head+sent); err != nil {
			t.Fatal(err)
		}
		from := bufio.NewReader(conn)
		answer, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		if answer.StatusCode != 408 || !strings.Contains(string(body), `"reason":"REQUEST_TIMEOUT"`) || !answer.Close {
			t.Errorf("%q: %d %s, closing %v", sent, answer.StatusCode, body, answer.Close)
		}
		if _, err := from.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("%q: the connection stays: %v", sent, err)
		}
	}
}
