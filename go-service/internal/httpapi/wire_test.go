package httpapi

import (
	"reflect"
	"strings"
	"testing"
)

// Two standard decoders differ on many of these; the rules are the contract's.
func TestOddBodiesOfAPayment(t *testing.T) {
	malformed := []string{
		"null", "true", "1", `"x"`, "[]", "[1]", " ", "\n", "{", "}", `{"amount":1`, `{"amount":1}}`, `{"amount":1} x`, `{"amount":1}{}`, "\ufeff{}",
		`{"amount":-0}`, `{"amount":1.0}`, `{"amount":1e2}`, `{"amount":1E2}`, `{"amount":"1"}`, `{"amount":true}`, `{"amount":[1]}`, `{"amount":{}}`,
		`{"amount":01}`, `{"amount":+1}`, `{"amount":1.}`, `{"amount":NaN}`, `{"amount":1e400}`, `{"amount":9223372036854775808}`, `{"amount":-9223372036854775809}`,
		`{"Amount":1}`, `{"AMOUNT":1}`, `{"amount ":1}`, `{"unknown":1}`, `{"unknown":null}`, `{"amount":1,"amount":1}`, `{"amount":1,"\u0061mount":1}`,
		`{"amount":null,"amount":1}`, `{"currency":1}`, `{"currency":null,"currency":null}`, `{"currency":["USD"]}`, `{"capture":2}`,
		`{"metadata":[]}`, `{"metadata":"x"}`, `{"metadata":{"a":1}}`, `{"metadata":{"a":{}}}`, `{"metadata":{"a":"1","a":"1"}}`, `{"metadata":{"a":"1","\u0061":"2"}}`,
		`{"currency":"\ud800"}`, `{"currency":"\udc00\ud800"}`, `{"currency":"` + "\xff" + `"}`, `{"` + "\xff" + `":1}`, `{"currency":"` + "\n" + `"}`, `{"currency":"\x41"}`,
		`{'currency':"USD"}`, `{currency:"USD"}`, `{"currency":"USD",}`, `{,}`, `{"currency" "USD"}`, `/**/{}`, `{"amount":` + strings.Repeat("[", 17) + strings.Repeat("]", 17) + `}`,
	}
	for _, body := range malformed {
		if got, err := decode[createPaymentBody]([]byte(body)); err == nil {
			t.Errorf("%q was taken for %+v", body, got)
		}
	}
	one, text, nothing := integer(1), "USD", createPaymentBody{}
	least := integer(-9223372036854775808)
	good := map[string]createPaymentBody{
		"": nothing, "{}": nothing, " \t\r\n{ } ": nothing, `{"amount":null,"currency":null,"metadata":null}`: nothing,
		`{"amount":1}`: {Amount: &one}, `{"amount":-9223372036854775808}`: {Amount: &least},
		`{"\u0063urrency":"\u0055SD"}`:                          {Currency: &text},
		`{"metadata":{}}`:                                       {Metadata: map[string]*string{}},
		`{"metadata":{"a":null,"":"USD","\ud83d\ude00":"USD"}}`: {Metadata: map[string]*string{"a": nil, "": &text, "😀": &text}},
	}
	for body, want := range good {
		if got, err := decode[createPaymentBody]([]byte(body)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, %v; want %+v", body, got, err, want)
		}
	}
}

func TestOddBodiesOfOtherOperations(t *testing.T) {
	for _, body := range []string{`{"card":[]}`, `{"card":"4242"}`, `{"card":{"number":4242}}`, `{"card":{"number":["4"]}}`, `{"card":{"Number":"4"}}`, `{"card":{"number":"4","number":"4"}}`, `{"card":{"cvc":"\ud800"}}`} {
		if _, err := decode[createPaymentTokenBody]([]byte(body)); err == nil || strings.Contains(err.Error(), "42") {
			t.Errorf("%s: %v", body, err)
		}
	}
	token, err := decode[createPaymentTokenBody]([]byte(`{"card":{"number":"\u0034242","exp_month":null,"exp_year":2030,"cvc":""}}`))
	command := token.command()
	if err != nil || string(command.Card.Number.Reveal()) != "4242" || command.Card.ExpMonth != nil || *command.Card.ExpYear != 2030 || len(command.Card.CVC.Reveal()) != 0 {
		t.Errorf("got %+v, %v", command.Card, err)
	}
	if token, err := decode[createPaymentTokenBody]([]byte(`{"card":null}`)); err != nil || token.command().Card != nil {
		t.Errorf("null card: %+v, %v", token, err)
	}
	if _, err := decode[emptyBody]([]byte(`{"a":1}`)); err == nil {
		t.Error("a member of an empty body was taken")
	}
	for _, body := range []string{`{"final":1}`, `{"final":"true"}`, `{"final":[true]}`, `{"final":True}`} {
		if _, err := decode[capturePaymentBody]([]byte(body)); err == nil {
			t.Errorf("%s was taken", body)
		}
	}
}
