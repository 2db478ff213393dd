package httpapi

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/usecase"
)

// The bodies of requests. Every member is a pointer: null means absent. Names are matched exactly, and unknown or repeated ones refused.
type (
	createMerchantBody struct {
		Name          *string  `json:"name"`
		FeeBPS        *integer `json:"fee_bps"`
		FeeFixed      *integer `json:"fee_fixed"`
		AmountLimit   *integer `json:"amount_limit"`
		VelocityLimit *integer `json:"velocity_limit"`
	}
	emptyBody              struct{}
	createPaymentTokenBody struct {
		Card *cardBody `json:"card"`
	}
	cardBody struct {
		Number   *secret  `json:"number"`
		ExpMonth *integer `json:"exp_month"`
		ExpYear  *integer `json:"exp_year"`
		CVC      *secret  `json:"cvc"`
	}
	createPaymentBody struct {
		Amount            *integer           `json:"amount"`
		Currency          *string            `json:"currency"`
		PaymentToken      *string            `json:"payment_token"`
		Capture           *string            `json:"capture"`
		MerchantReference *string            `json:"merchant_reference"`
		Description       *string            `json:"description"`
		Metadata          map[string]*string `json:"metadata"`
	}
	capturePaymentBody struct {
		Amount *integer `json:"amount"`
		Final  *bool    `json:"final"`
	}
	createRefundBody struct {
		Amount *integer `json:"amount"`
		Reason *string  `json:"reason"`
	}
	createWebhookEndpointBody struct {
		URL *string `json:"url"`
	}
)

func (b createMerchantBody) command() usecase.CreateMerchant {
	return usecase.CreateMerchant{
		Name: b.Name, FeeBPS: (*int64)(b.FeeBPS), FeeFixed: (*int64)(b.FeeFixed), AmountLimit: (*int64)(b.AmountLimit),
		VelocityLimit: (*int64)(b.VelocityLimit),
	}
}

func (b createPaymentTokenBody) command() usecase.CreatePaymentToken {
	if b.Card == nil {
		return usecase.CreatePaymentToken{}
	}
	return usecase.CreatePaymentToken{Card: &usecase.Card{
		Number: (*domain.Secret)(b.Card.Number), ExpMonth: (*int64)(b.Card.ExpMonth), ExpYear: (*int64)(b.Card.ExpYear), CVC: (*domain.Secret)(b.Card.CVC),
	}}
}

func (b createPaymentBody) command() usecase.CreatePayment {
	return usecase.CreatePayment{
		Amount: (*int64)(b.Amount), Currency: b.Currency, PaymentToken: b.PaymentToken, Capture: b.Capture, MerchantReference: b.MerchantReference,
		Description: b.Description, Metadata: b.Metadata,
	}
}

func (b capturePaymentBody) command(id string) usecase.CapturePayment {
	return usecase.CapturePayment{ID: id, Amount: (*int64)(b.Amount), Final: b.Final}
}

func (b createRefundBody) command(id string) usecase.CreateRefund {
	return usecase.CreateRefund{ID: id, Amount: (*int64)(b.Amount), Reason: b.Reason}
}

var strict = json.RejectUnknownMembers(true)

// decode reads a body. An empty one is an empty object; blanks alone aren't.
func decode[T any](body []byte) (decoded T, err error) {
	if len(body) == 0 {
		return decoded, nil
	}
	// The decoder takes a top-level null for an absent struct.
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return decoded, domain.NewError(domain.ReasonMalformedBody)
	}
	if err := json.Unmarshal(body, &decoded, strict); err != nil {
		return decoded, domain.NewError(domain.ReasonMalformedBody) // the cause may quote a card number
	}
	return decoded, nil
}

// integer is a JSON number without fraction or exponent; -0 is none, since it isn't how an integer is written.
type integer int64

var errNotAnInteger = errors.New("not an integer")

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (i *integer) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	value, err := d.ReadValue()
	if err != nil {
		return err
	}
	number, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || value[0] == '-' && number == 0 {
		return errNotAnInteger
	}
	*i = integer(number)
	return nil
}

// secret is a text that never becomes a string.
type secret domain.Secret

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (s *secret) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	value, err := d.ReadValue()
	if err != nil {
		return err
	}
	if value.Kind() != '"' {
		return errors.New("not a text")
	}
	text, err := jsontext.AppendUnquote(make([]byte, 0, len(value)), value)
	*s = secret(domain.NewSecret(text))
	return err
}
