package usecase

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"twinpay.dev/payments/internal/domain"
)

func ptr[T any](value T) *T { return &value }

func violations(t *testing.T, err error) []string {
	t.Helper()
	var e *domain.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	shown := []string{}
	for _, v := range e.Violations {
		shown = append(shown, v.Field+" "+string(v.Reason))
	}
	return shown
}

func TestAPaymentsViolationsStandInDeclaredOrder(t *testing.T) {
	many := map[string]*string{}
	for i := range 21 {
		many[fmt.Sprint(i)] = ptr("")
	}
	good := CreatePayment{Amount: ptr(int64(1)), Currency: ptr("USD"), PaymentToken: ptr("ptk_01k8nkrkayfxg828t5cy4tqkff"), Capture: ptr("manual"), MerchantReference: ptr("r")}
	cases := []struct {
		name   string
		change func(*CreatePayment)
		want   []string
	}{
		{"nothing", func(c *CreatePayment) { *c = CreatePayment{} },
			[]string{"amount REQUIRED", "currency REQUIRED", "payment_token REQUIRED", "capture REQUIRED", "merchant_reference REQUIRED"}},
		{"all wrong", func(c *CreatePayment) {
			*c = CreatePayment{Amount: ptr(int64(0)), Currency: ptr("usd"), PaymentToken: ptr("pay_01k8nkrkayfxg828t5cy4tqkff"), Capture: ptr(""),
				MerchantReference: ptr(""), Description: ptr("a\x00"), Metadata: map[string]*string{"b": nil, "a": ptr(strings.Repeat("x", 201)), "": ptr("\x00")}}
		}, []string{"amount OUT_OF_RANGE", "currency MALFORMED", "payment_token MALFORMED", "capture UNKNOWN_VALUE", "merchant_reference TOO_SHORT",
			"description HAS_NUL", "metadata TOO_SHORT", "metadata.a TOO_LONG", "metadata.b NULL_VALUE"}},
		{"too many pairs", func(c *CreatePayment) { c.Metadata = many }, []string{"metadata TOO_MANY"}},
		{"length before NUL", func(c *CreatePayment) { c.MerchantReference = ptr(strings.Repeat("\x00", 65)) }, []string{"merchant_reference TOO_LONG"}},
		{"bytes, not letters", func(c *CreatePayment) { c.MerchantReference = ptr(strings.Repeat("é", 33)) }, []string{"merchant_reference TOO_LONG"}},
		{"too large", func(c *CreatePayment) { c.Amount = ptr(domain.MaxAmount + 1) }, []string{"amount OUT_OF_RANGE"}},
	}
	for _, c := range cases {
		command := good
		c.change(&command)
		_, err := command.check(Call{})
		if got := violations(t, err); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	unsupported := good
	unsupported.Currency = ptr("CHF")
	if _, err := unsupported.check(Call{}); reason(err) != domain.ReasonCurrencyUnsupported {
		t.Errorf("CHF: %v", err)
	}
	if p, err := good.check(Call{}); err != nil || p.Amount != 1 || p.Metadata != nil {
		t.Errorf("good: %+v, %v", p, err)
	}
}

func TestACardsViolationsStandInDeclaredOrder(t *testing.T) {
	secret := func(text string) *domain.Secret { return ptr(domain.NewSecret([]byte(text))) }
	cases := []struct {
		card *Card
		want []string
	}{
		{nil, []string{"card REQUIRED"}},
		{&Card{}, []string{"card.number REQUIRED", "card.exp_month REQUIRED", "card.exp_year REQUIRED", "card.cvc REQUIRED"}},
		{&Card{secret("12345678901"), ptr(int64(0)), ptr(int64(1999)), secret("12")},
			[]string{"card.number TOO_SHORT", "card.exp_month OUT_OF_RANGE", "card.exp_year OUT_OF_RANGE", "card.cvc TOO_SHORT"}},
		{&Card{secret("12345678901234567890"), ptr(int64(13)), ptr(int64(2101)), secret("12345")},
			[]string{"card.number TOO_LONG", "card.exp_month OUT_OF_RANGE", "card.exp_year OUT_OF_RANGE", "card.cvc TOO_LONG"}},
		{&Card{secret("4242 4242 4242"), ptr(int64(1)), ptr(int64(2030)), secret("12a")}, []string{"card.number MALFORMED", "card.cvc MALFORMED"}},
	}
	for _, c := range cases {
		_, err := CreatePaymentToken{Card: c.card}.check(Call{})
		if got := violations(t, err); !reflect.DeepEqual(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestAMerchantsViolationsFollowThoseOfTheQuery(t *testing.T) {
	call := Call{Violations: []domain.Violation{{Field: "q", Reason: domain.UnknownParameter}}}
	_, err := CreateMerchant{Name: ptr(""), FeeBPS: ptr(int64(10_001)), FeeFixed: ptr(int64(-1)), AmountLimit: ptr(int64(0)), VelocityLimit: ptr(int64(101))}.check(call)
	want := []string{"q UNKNOWN_PARAMETER", "name TOO_SHORT", "fee_bps OUT_OF_RANGE", "fee_fixed OUT_OF_RANGE", "amount_limit OUT_OF_RANGE", "velocity_limit OUT_OF_RANGE"}
	if got := violations(t, err); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
