package test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	paymentsv1 "twinpay.dev/payments/internal/gen/payments/v1"
)

// raw writes a request as it stands and reads the response: clients tidy paths up.
func (s *service) raw(request string) reply {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.app.HTTPAddr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprint(conn, request); err != nil {
		s.t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ") // a reply to HEAD has no body
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		s.t.Fatalf("%q: %v", request, err)
	}
	defer response.Body.Close()
	var body strings.Builder
	if _, err := bufio.NewReader(response.Body).WriteTo(&body); err != nil {
		s.t.Fatal(err)
	}
	return reply{s.t, response.StatusCode, response.Header, body.String()}
}

func TestPathsAndMethodsAreCheckedBeforeAnythingElse(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	for _, path := range []string{
		"/", "/v1", "/v1/", "/v1/payments/", "//v1/payments", "/v1//payments", "/v1/./payments", "/v1/../v1/payments", "/v1/payments/..", "/v1/pay%6dents",
		"/v1/payments/%2e", "/V1/payments", "/v1/payments/a/capture/", "/v1/payments/a/b", "/v1/refund", "/livez/", "/metrics", "/readyz", "*",
	} {
		r := s.refused(404, "ROUTE_NOT_FOUND", s.raw("POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"))
		if !strings.HasPrefix(r.header.Get("Request-Id"), "req_") {
			t.Errorf("%s: headers %v", path, r.header)
		}
	}
	for _, c := range []struct{ method, path, allow string }{
		{"PUT", "/v1/payments", "GET, POST"}, {"DELETE", "/v1/payments/x", "GET"}, {"OPTIONS", "/v1/merchants", "POST"}, {"PROPFIND", "/v1/payments/x/capture", "POST"},
		{"POST", "/livez", "GET"}, {"HEAD", "/livez", "GET"},
	} {
		r := s.raw(c.method + " " + c.path + "?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		if r.status != 405 || r.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: got %d, allow %q, want %q", c.method, c.path, r.status, r.header.Get("Allow"), c.allow)
		}
	}
	s.refused(404, "RESOURCE_NOT_FOUND", s.raw("GET /v1/payments/{;\"} HTTP/1.1\r\nHost: x\r\nAuthorization: bearer "+s.key+"\r\n\r\n"))
}

func TestTheOrderOfChecks(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	bearer := "Bearer " + s.key
	large := strings.Repeat(" ", 65_537)
	cases := []struct {
		name, reason string
		status       int
		body         string
		headers      []string
	}{
		{"no content type", "UNSUPPORTED_MEDIA_TYPE", 415, large, []string{}},
		{"another content type", "UNSUPPORTED_MEDIA_TYPE", 415, "", []string{"Content-Type", "application/jsonx"}},
		{"two content types", "UNSUPPORTED_MEDIA_TYPE", 415, "", []string{"Content-Type", "application/json", "Content-Type", "application/json"}},
		{"too large", "PAYLOAD_TOO_LARGE", 413, large, []string{"Content-Type", "Application/JSON ; charset=x"}},
		{"no credential", "UNAUTHENTICATED", 401, "{", []string{"Content-Type", "application/json", "Request-Timeout-Ms", "0"}},
		{"two credentials", "UNAUTHENTICATED", 401, "{", []string{"Content-Type", "application/json", "Authorization", bearer, "Authorization", bearer}},
		{"another scheme", "UNAUTHENTICATED", 401, "{", []string{"Content-Type", "application/json", "Authorization", "Basic " + s.key}},
		{"two spaces", "UNAUTHENTICATED", 401, "{", []string{"Content-Type", "application/json", "Authorization", "Bearer  " + s.key}},
		{"a wrong secret", "UNAUTHENTICATED", 401, "{", []string{"Content-Type", "application/json", "Authorization", bearer[:len(bearer)-4] + "0000"}},
		{"an unknown key", "UNAUTHENTICATED", 401, "{", []string{"Content-Type", "application/json", "Authorization", "Bearer tp_live_00000000000000000000000000_" + strings.Repeat("0", 64)}},
		{"the admin's token", "PERMISSION_DENIED", 403, "{", []string{"Content-Type", "application/json", "Authorization", "Bearer " + adminToken, "Request-Timeout-Ms", "x"}},
		{"a malformed deadline", "VALIDATION_FAILED", 400, "{", []string{"Content-Type", "application/json", "Authorization", bearer, "Request-Timeout-Ms", "x"}},
		{"no time", "DEADLINE_EXCEEDED", 504, "{", []string{"Content-Type", "application/json", "Authorization", bearer, "Request-Timeout-Ms", "0"}},
		{"no key", "IDEMPOTENCY_KEY_MISSING", 400, "{", []string{"Content-Type", "application/json", "Authorization", bearer}},
		{"a bad key", "IDEMPOTENCY_KEY_INVALID", 400, "{", []string{"Content-Type", "application/json", "Authorization", bearer, "Idempotency-Key", ""}},
		{"a bad body", "MALFORMED_BODY", 400, "{", []string{"Content-Type", "application/json", "Authorization", bearer, "Idempotency-Key", "k"}},
		{"an empty body", "VALIDATION_FAILED", 400, "", []string{"Content-Type", "application/json", "Authorization", bearer, "Idempotency-Key", "k"}},
	}
	for _, c := range cases {
		request, err := http.NewRequest("POST", "http://"+s.app.HTTPAddr+"/v1/payments?a=1", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(c.headers); i += 2 {
			request.Header.Add(c.headers[i], c.headers[i+1])
		}
		r := s.do(request)
		if r.status != c.status || r.member("reason") != c.reason || r.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: got %d %s, want %d %s", c.name, r.status, r.body, c.status, c.reason)
		}
		if c.status == 401 && r.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: headers %v", c.name, r.header)
		}
	}
	s.refused(403, "PERMISSION_DENIED", s.send("POST", "/v1/merchants", "{}", "Authorization", bearer))
	chunked := "POST /v1/payments HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: " + bearer + "\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n" + large + "\r\n0\r\n\r\n"
	s.refused(413, "PAYLOAD_TOO_LARGE", s.raw(chunked))
	slow := "POST /v1/payments HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: " + bearer + "\r\nIdempotency-Key: k\r\nRequest-Timeout-Ms: 100\r\nContent-Length: 9\r\n\r\n{"
	s.refused(504, "DEADLINE_EXCEEDED", s.raw(slow))
}

func TestViolationsOverBothDoorsAreTheSame(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	r := s.refused(400, "VALIDATION_FAILED", s.post("k", "/v1/payments?b&a=1", `{"amount":0,"metadata":{"a":null}}`))
	want := `"violations":[{"field":"b","reason":"UNKNOWN_PARAMETER","description":"isn't a parameter of this operation"},` +
		`{"field":"a","reason":"UNKNOWN_PARAMETER","description":"isn't a parameter of this operation"},` +
		`{"field":"amount","reason":"OUT_OF_RANGE","description":"must be from 1 to 999999999999"},{"field":"currency","reason":"REQUIRED","description":"is required"},`
	if !contains(r.body, want) {
		t.Errorf("got  %s\nwant %s", r.body, want)
	}
	client := paymentsv1.NewPaymentServiceClient(s.grpc)
	_, err := client.CreatePayment(s.outgoing("k"), &paymentsv1.CreatePaymentRequest{Amount: proto.Int64(0), Capture: paymentsv1.CaptureMethod(9).Enum()})
	fields := []string{}
	for _, detail := range status.Convert(err).Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				fields = append(fields, v.GetField()+" "+v.GetReason())
			}
		}
	}
	if got := strings.Join(fields, ", "); status.Code(err) != codes.InvalidArgument ||
		got != "amount OUT_OF_RANGE, currency REQUIRED, payment_token REQUIRED, capture UNKNOWN_VALUE, merchant_reference REQUIRED" {
		t.Errorf("got %v: %s", err, got)
	}
	_, err = client.CreatePayment(t.Context(), &paymentsv1.CreatePaymentRequest{})
	if info := errorInfo(t, err); status.Code(err) != codes.Unauthenticated || info.GetReason() != "UNAUTHENTICATED" {
		t.Errorf("no credential: %v", err)
	}
	_, err = client.CreatePayment(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+s.key), &paymentsv1.CreatePaymentRequest{})
	if info := errorInfo(t, err); info.GetReason() != "IDEMPOTENCY_KEY_MISSING" {
		t.Errorf("no key: %v", err)
	}
	_, err = client.CreatePayment(s.outgoing("k"), &paymentsv1.CreatePaymentRequest{Description: proto.String(strings.Repeat("x", 65_536))})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("too large: %v", err)
	}
	_, err = client.GetPayment(s.outgoing(""), &paymentsv1.GetPaymentRequest{})
	if info := errorInfo(t, err); status.Code(err) != codes.NotFound || info.GetReason() != "RESOURCE_NOT_FOUND" {
		t.Errorf("no id: %v", err)
	}
}

// plainCodec sends bytes as they are.
type plainCodec struct{ encoding.CodecV2 }

func (plainCodec) Name() string { return "proto" }

func (plainCodec) Marshal(message any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(message.([]byte))}, nil
}

func TestAMessageThatCantBeDecodedIsMalformed(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	for method, message := range map[string]string{
		paymentsv1.AdminService_CreateMerchant_FullMethodName:     "\xff",         // a tag that doesn't end
		paymentsv1.VaultService_CreatePaymentToken_FullMethodName: "\x0a\x05\x0a", // a card that is cut off
		paymentsv1.PaymentService_CreatePayment_FullMethodName:    "\x12\x01\xff", // a currency that isn't UTF-8
		paymentsv1.PaymentService_CapturePayment_FullMethodName:   "\x0b",         // a group that doesn't end
	} {
		err := s.grpc.Invoke(s.outgoing("k"), method, []byte(message), nil, grpc.ForceCodecV2(plainCodec{}))
		got := status.Convert(err)
		if info := errorInfo(t, err); got.Code() != codes.InvalidArgument || info.GetReason() != "MALFORMED_BODY" || contains(got.Message(), "proto") {
			t.Errorf("%s: %v, %v", method, err, info)
		}
		metrics := s.get("http://" + s.app.AdminAddr + "/metrics").body
		want := fmt.Sprintf(`rpc_server_call_duration_seconds_count{rpc_method=%q,rpc_response_status_code="INVALID_ARGUMENT",rpc_system_name="grpc"} 1`, method[1:])
		if !contains(metrics, want) {
			t.Errorf("no %s in %s", want, metrics)
		}
	}
}

func TestCardsThatAreNotValid(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	s.refused(400, "CARD_INVALID", s.post("k", "/v1/payment_tokens", cardBody("4242424242424241")))
	s.refused(400, "CARD_INVALID", s.post("k", "/v1/payment_tokens", strings.Replace(cardBody(goodCard), "2090", "2020", 1)))
	s.refused(400, "VALIDATION_FAILED", s.post("k", "/v1/payment_tokens", cardBody("4242-4242-4242")))
	first := s.must(201, s.post("k", "/v1/payment_tokens", cardBody(goodCard)))
	if again := s.must(201, s.post("k", "/v1/payment_tokens", cardBody(goodCard))); again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("replayed as %v %s", again.header, again.body)
	}
	s.refused(422, "IDEMPOTENCY_KEY_REUSED", s.post("k", "/v1/payment_tokens", strings.Replace(cardBody(goodCard), "737", "738", 1)))
}

func TestCleartextHTTP2(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequest("GET", "http://"+s.app.HTTPAddr+"/v1/payments/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.key)
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.ProtoMajor != 2 || response.StatusCode != 404 {
		t.Errorf("got %s %d", response.Proto, response.StatusCode)
	}
}
