package httpapi

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"twinpay.dev/payments/internal/telemetry"
	"twinpay.dev/payments/internal/usecase"
)

func TestAPanicIsAnInternalErrorThatShowsNothing(t *testing.T) {
	var logs bytes.Buffer
	told, err := telemetry.New(t.Context(), "", nil, &logs)
	if err != nil {
		t.Fatal(err)
	}
	const token = "token-of-the-administrator"
	server := httptest.NewServer(New(nil, usecase.NewAuthenticator(nil, token, usecase.NewRateLimit(0, 1), nil), time.Minute, told)) // there are no use cases to call
	defer server.Close()
	request, err := http.NewRequest(http.MethodPost, server.URL+"/v1/merchants", strings.NewReader(`{"name":"m"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + token}}
	answer, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusInternalServerError || !bytes.Contains(body, []byte(`"reason":"INTERNAL"`)) || bytes.Contains(body, []byte("pointer")) {
		t.Errorf("got %d %s, %v", answer.StatusCode, body, err)
	}
	server.Close() // waits for the log's line
	if !strings.Contains(logs.String(), "panic: runtime error: invalid memory address or nil pointer dereference") {
		t.Errorf("logs: %s", &logs)
	}
}
