package reply

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"twinpay.dev/payments/internal/domain"
)

func TestTheTableOfProblemsIsThatOfTheContract(t *testing.T) {
	var file struct {
		Error []struct {
			Reason, Title, Detail string
			Status                int
			RetryAfter            int `toml:"retry_after"`
		}
		Violations map[string]string
	}
	if _, err := toml.DecodeFile("../../../proto/errors.toml", &file); err != nil {
		t.Fatal(err)
	}
	if len(Problems) != len(file.Error) {
		t.Errorf("%d reasons, want %d", len(Problems), len(file.Error))
	}
	for _, e := range file.Error {
		want := Kind{e.Status, e.RetryAfter, e.Title, e.Detail}
		if got := Problems[domain.Reason(e.Reason)]; got != want {
			t.Errorf("%s: got %+v, want %+v", e.Reason, got, want)
		}
		if http.StatusText(e.Status) == "" {
			t.Errorf("%s: no such status: %d", e.Reason, e.Status)
		}
	}
	for reason, text := range descriptions {
		if file.Violations[string(reason)] != text {
			t.Errorf("%s: got %q, want %q", reason, text, file.Violations[string(reason)])
		}
	}
	if got := Describe(domain.Violation{Reason: domain.OutOfRange, Min: 1, Max: domain.MaxAmount}); got != "must be from 1 to 999999999999" {
		t.Errorf("got %q", got)
	}
}

var (
	created = time.Date(2025, 3, 1, 23, 59, 59, 1000, time.FixedZone("", 3600))
	shown   = domain.Payment{
		ID: domain.NewID(), PaymentTokenID: domain.NewID(), Amount: 1000, Currency: domain.USD, Capture: domain.CaptureManual,
		MerchantReference: "a\"\\/<>&\u2028\x7f\b\f\n\r\t\x01\x1fé", State: domain.StateAuthorized, Authorized: 1000,
		ExpiresAt: created, CreatedAt: created, UpdatedAt: created,
	}
)

func TestTextsAreEscapedNoMoreThanJSONDemands(t *testing.T) {
	want := `"merchant_reference":"a\"\\/<>&` + "\u2028\x7f" + `\b\f\n\r\t\u0001\u001fé"`
	if got := string(Payment(&shown)); !strings.Contains(got, want) {
		t.Errorf("got %s, want %s in it", got, want)
	}
}

func TestMembersStandInTheirOrderAndAbsentOnesDont(t *testing.T) {
	p := shown
	p.MerchantReference = "r"
	got := string(Payment(&p))
	want := `{"id":"` + domain.FormatID("pay", p.ID) + `","payment_token":"` + domain.FormatID("ptk", p.PaymentTokenID) +
		`","amount":1000,"currency":"USD","capture":"manual","merchant_reference":"r","state":"authorized","authorized":1000,"captured":0,` +
		`"refunded":0,"expires_at":"2025-03-01T22:59:59.000001Z","created_at":"2025-03-01T22:59:59.000001Z","updated_at":"2025-03-01T22:59:59.000001Z"}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	p.Metadata = map[string]string{"b": "2", "a": "1", "é": "", "Z": "z"}
	p.Description, p.DeclineReason, p.ExpiresAt = "d", domain.DeclineDoNotHonor, time.Time{}
	got = string(Payment(&p))
	if want := `"r","description":"d","metadata":{"Z":"z","a":"1","b":"2","é":""},"state":"authorized","decline_reason":"do_not_honor","authorized"`; !strings.Contains(got, want) || strings.Contains(got, "expires_at") {
		t.Errorf("got %s, want %s in it and no expires_at", got, want)
	}
}

func TestWhatWasRenderedComesBack(t *testing.T) {
	p := shown
	p.ExpiresAt, p.CreatedAt, p.UpdatedAt = p.ExpiresAt.UTC(), p.CreatedAt.UTC(), p.UpdatedAt.UTC()
	p.Metadata = map[string]string{"a\n": "b"}
	got, err := ParsePayment(Payment(&p))
	if err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("payment: got %+v, %v\nwant %+v", got, err, p)
	}
	limit := int32(3)
	m := domain.Merchant{ID: domain.NewID(), Name: "Café", Fees: domain.Fees{BPS: 1, Fixed: 2}, AmountLimit: 3, VelocityLimit: &limit, CreatedAt: created.UTC()}
	if got, err := ParseMerchant(Merchant(&m)); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("merchant: got %+v, %v\nwant %+v", got, err, m)
	}
	token := domain.PaymentToken{ID: domain.NewID(), Card: domain.CardSummary{Brand: domain.BrandVisa, Last4: "4242", ExpMonth: 1, ExpYear: 2030}, CreatedAt: created.UTC()}
	if got, err := ParsePaymentToken(PaymentToken(&token)); err != nil || !reflect.DeepEqual(got, token) {
		t.Errorf("token: got %+v, %v\nwant %+v", got, err, token)
	}
	for _, e := range []*domain.Error{
		{Reason: domain.ReasonCardDeclined, DeclineReason: domain.DeclineExpiredCard, PaymentID: p.ID, Payment: &p},
		{Reason: domain.ReasonPaymentStateInvalid, CurrentState: domain.StateCaptured, AllowedStates: domain.KindCapture.From()},
		domain.NewError(domain.ReasonAmountExceedsCapturable),
	} {
		if got, err := ParseProblem(Problem(e)); err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("problem: got %+v, %v\nwant %+v", got, err, e)
		}
	}
}

func TestAProblemListsAtMostTwentyViolations(t *testing.T) {
	e := &domain.Error{Reason: domain.ReasonValidationFailed, Violations: make([]domain.Violation, 25)}
	for i := range e.Violations {
		e.Violations[i] = domain.Violation{Field: "name", Reason: domain.TooLong, Max: 200}
	}
	body := string(Problem(e))
	one := `{"field":"name","reason":"TOO_LONG","description":"must have at most 200 bytes"}`
	if strings.Count(body, one) != 20 || !strings.HasPrefix(body, `{"type":"https://twinpay.dev/errors/validation_failed","title":"The request breaks a rule","status":400,"detail":"Each`) {
		t.Errorf("got %s", body)
	}
}
