package grpcapi

import (
	"errors"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"

	"twinpay.dev/payments/internal/domain"
	paymentsv1 "twinpay.dev/payments/internal/gen/payments/v1"
)

func TestTheTableOfCodesIsThatOfTheContract(t *testing.T) {
	var file struct {
		Domain string
		Error  []struct{ Reason, GRPC string }
	}
	if _, err := toml.DecodeFile("../../../proto/errors.toml", &file); err != nil {
		t.Fatal(err)
	}
	said := 0
	for i, e := range file.Error {
		if e.Reason != strings.TrimPrefix(paymentsv1.ErrorReason_name[int32(i+1)], "ERROR_REASON_") {
			t.Errorf("%s isn't reason %d of the enum", e.Reason, i+1)
		}
		got, ok := codeOf[domain.Reason(e.Reason)]
		if e.GRPC == "" && ok || e.GRPC != "" && (!ok || code.Code_name[int32(got)] != e.GRPC) {
			t.Errorf("%s: got %s, want %q", e.Reason, got, e.GRPC)
		}
		if ok {
			said++
		}
	}
	if said != len(codeOf) || file.Domain != errorDomain {
		t.Errorf("%d reasons, domain %s", len(codeOf), errorDomain)
	}
}

func TestEnumsHaveTheirJSONNames(t *testing.T) {
	same := func(json, enum, prefix string) {
		if strings.ToLower(strings.TrimPrefix(enum, prefix)) != json {
			t.Errorf("%s is %s", json, enum)
		}
	}
	for json, enum := range captureMethods {
		same(string(json), enum.String(), "CAPTURE_METHOD_")
	}
	for json, enum := range paymentStates {
		same(string(json), enum.String(), "PAYMENT_STATE_")
		if !json.Known() {
			t.Errorf("%s isn't known", json)
		}
	}
	for json, enum := range refundStates {
		same(string(json), enum.String(), "REFUND_STATE_")
	}
	for json, enum := range declineReasons {
		same(string(json), enum.String(), "DECLINE_REASON_")
	}
	for json, enum := range brands {
		same(string(json), enum.String(), "CARD_BRAND_")
	}
	for json, enum := range accounts {
		same(string(json), enum.String(), "ACCOUNT_")
		if !json.Known() {
			t.Errorf("%s isn't known", json)
		}
	}
	sizes := []struct{ rows, names int }{
		{len(captureMethods), len(paymentsv1.CaptureMethod_name)}, {len(paymentStates), len(paymentsv1.PaymentState_name)},
		{len(declineReasons), len(paymentsv1.DeclineReason_name)}, {len(brands), len(paymentsv1.CardBrand_name)},
		{len(refundStates), len(paymentsv1.RefundState_name)},
		{len(accounts), len(paymentsv1.Account_name)},
	}
	for i, size := range sizes {
		if size.rows != size.names-1 {
			t.Errorf("table %d has %d rows, the enum %d names", i, size.rows, size.names)
		}
	}
}

func TestAnInternalErrorShowsNothingOfItsCause(t *testing.T) {
	status, failure := statusOf(errors.New("password hunter2"))
	if status.Code() != codes.Internal || failure.Reason != domain.ReasonInternal || strings.Contains(status.String(), "hunter2") {
		t.Errorf("got %s", status)
	}
}
