// Package reply renders objects and problems as JSON bytes, and reads them back. What is stored under an idempotency key or sent as an
// event is made here, below the use cases, so that a replay is the same bytes; the doors render all else through it. Nothing here may know
// of HTTP or gRPC beyond the status that a problem names.
package reply

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"twinpay.dev/payments/internal/domain"
)

// timeLayout is RFC 3339 in UTC with exactly six fraction digits.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// Payment renders a payment.
func Payment(p *domain.Payment) []byte { return AppendPayment(make([]byte, 0, 640), p) }

// AppendPayment appends a payment's object to dst.
func AppendPayment(dst []byte, p *domain.Payment) []byte {
	dst = appendID(append(dst, `{"id":`...), domain.PrefixPayment, p.ID)
	dst = appendID(append(dst, `,"payment_token":`...), domain.PrefixPaymentToken, p.PaymentTokenID)
	dst = strconv.AppendInt(append(dst, `,"amount":`...), p.Amount, 10)
	dst = appendText(append(dst, `,"currency":`...), string(p.Currency))
	dst = appendText(append(dst, `,"capture":`...), string(p.Capture))
	dst = appendText(append(dst, `,"merchant_reference":`...), p.MerchantReference)
	if p.Description != "" {
		dst = appendText(append(dst, `,"description":`...), p.Description)
	}
	if len(p.Metadata) > 0 {
		dst = AppendMetadata(append(dst, `,"metadata":`...), p.Metadata)
	}
	dst = appendText(append(dst, `,"state":`...), string(p.State))
	if p.DeclineReason != "" {
		dst = appendText(append(dst, `,"decline_reason":`...), string(p.DeclineReason))
	}
	dst = strconv.AppendInt(append(dst, `,"authorized":`...), p.Authorized, 10)
	dst = strconv.AppendInt(append(dst, `,"captured":`...), p.Captured, 10)
	dst = strconv.AppendInt(append(dst, `,"refunded":`...), p.Refunded, 10)
	if !p.ExpiresAt.IsZero() {
		dst = appendTime(append(dst, `,"expires_at":`...), p.ExpiresAt)
	}
	dst = appendTime(append(dst, `,"created_at":`...), p.CreatedAt)
	dst = appendTime(append(dst, `,"updated_at":`...), p.UpdatedAt)
	return append(dst, '}')
}

// AppendMetadata appends an object of texts in the order of the keys' bytes.
func AppendMetadata(dst []byte, metadata map[string]string) []byte {
	dst = append(dst, '{')
	for i, key := range slices.Sorted(maps.Keys(metadata)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(append(appendText(dst, key), ':'), metadata[key])
	}
	return append(dst, '}')
}

// Payments renders a page of payments; the next page's cursor is empty on the last one.
func Payments(payments []domain.Payment, next string) []byte {
	return page(payments, next, AppendPayment)
}

// LedgerEntries renders a page of ledger entries; the next page's cursor is empty on the last one.
func LedgerEntries(entries []domain.LedgerEntry, next string) []byte {
	return page(entries, next, appendLedgerEntry)
}

func appendLedgerEntry(dst []byte, e *domain.LedgerEntry) []byte {
	dst = appendID(append(dst, `{"id":`...), domain.PrefixEntry, e.ID)
	dst = appendID(append(dst, `,"operation":`...), domain.PrefixOperation, e.OperationID)
	dst = appendID(append(dst, `,"payment":`...), domain.PrefixPayment, e.PaymentID)
	dst = appendText(append(dst, `,"account":`...), string(e.Account))
	dst = appendText(append(dst, `,"currency":`...), string(e.Currency))
	dst = strconv.AppendInt(append(dst, `,"amount":`...), e.Amount, 10)
	return append(appendTime(append(dst, `,"created_at":`...), e.CreatedAt), '}')
}

// Balances renders all balances of a merchant.
func Balances(balances []domain.Balance) []byte {
	return append(appendData(nil, balances, appendBalance), '}')
}

func appendBalance(dst []byte, b *domain.Balance) []byte {
	dst = appendText(append(dst, `{"currency":`...), string(b.Currency))
	dst = strconv.AppendInt(append(dst, `,"acquirer_receivable":`...), b.AcquirerReceivable, 10)
	dst = strconv.AppendInt(append(dst, `,"merchant_payable":`...), b.MerchantPayable, 10)
	return append(strconv.AppendInt(append(dst, `,"fee_income":`...), b.FeeIncome, 10), '}')
}

func page[T any](data []T, next string, appendObject func([]byte, *T) []byte) []byte {
	dst := appendData(make([]byte, 0, 64+640*len(data)), data, appendObject)
	if next == "" {
		return append(dst, `,"has_more":false}`...)
	}
	return append(append(append(dst, `,"has_more":true,"next_cursor":"`...), next...), `"}`...)
}

// appendData begins an object with the list.
func appendData[T any](dst []byte, data []T, appendObject func([]byte, *T) []byte) []byte {
	dst = append(dst, `{"data":[`...)
	for i := range data {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendObject(dst, &data[i])
	}
	return append(dst, ']')
}

// Merchant renders a merchant.
func Merchant(m *domain.Merchant) []byte {
	dst := appendID([]byte(`{"id":`), domain.PrefixMerchant, m.ID)
	dst = appendText(append(dst, `,"name":`...), m.Name)
	dst = strconv.AppendInt(append(dst, `,"fee_bps":`...), int64(m.Fees.BPS), 10)
	dst = strconv.AppendInt(append(dst, `,"fee_fixed":`...), m.Fees.Fixed, 10)
	dst = strconv.AppendInt(append(dst, `,"amount_limit":`...), m.AmountLimit, 10)
	if m.VelocityLimit != nil {
		dst = strconv.AppendInt(append(dst, `,"velocity_limit":`...), int64(*m.VelocityLimit), 10)
	}
	dst = appendTime(append(dst, `,"created_at":`...), m.CreatedAt)
	return append(dst, '}')
}

// APIKey renders a key.
func APIKey(k *domain.APIKey) []byte {
	dst := appendID([]byte(`{"id":`), domain.PrefixAPIKey, k.ID)
	dst = appendID(append(dst, `,"merchant_id":`...), domain.PrefixMerchant, k.MerchantID)
	if k.Secret != "" {
		dst = appendText(append(dst, `,"secret":`...), k.Secret)
	}
	dst = appendTime(append(dst, `,"created_at":`...), k.CreatedAt)
	if !k.RevokedAt.IsZero() {
		dst = appendTime(append(dst, `,"revoked_at":`...), k.RevokedAt)
	}
	return append(dst, '}')
}

// Refund renders a refund.
func Refund(r *domain.Refund) []byte { return appendRefund(make([]byte, 0, 384), r) }

// Refunds renders a page of refunds; the next page's cursor is empty on the last one.
func Refunds(refunds []domain.Refund, next string) []byte { return page(refunds, next, appendRefund) }

func appendRefund(dst []byte, r *domain.Refund) []byte {
	dst = appendID(append(dst, `{"id":`...), domain.PrefixRefund, r.ID)
	dst = appendID(append(dst, `,"payment":`...), domain.PrefixPayment, r.PaymentID)
	dst = strconv.AppendInt(append(dst, `,"amount":`...), r.Amount, 10)
	dst = appendText(append(dst, `,"currency":`...), string(r.Currency))
	dst = appendText(append(dst, `,"state":`...), string(r.State))
	if r.Reason != "" {
		dst = appendText(append(dst, `,"reason":`...), r.Reason)
	}
	if r.FailureReason != "" {
		dst = appendText(append(dst, `,"failure_reason":`...), r.FailureReason)
	}
	dst = appendTime(append(dst, `,"created_at":`...), r.CreatedAt)
	dst = appendTime(append(dst, `,"updated_at":`...), r.UpdatedAt)
	return append(dst, '}')
}

// WebhookEndpoints renders a page of endpoints; the next page's cursor is empty on the last one.
func WebhookEndpoints(endpoints []domain.WebhookEndpoint, next string) []byte {
	return page(endpoints, next, appendEndpoint)
}

// WebhookEndpoint renders an endpoint, with its secret where it was just made.
func WebhookEndpoint(e *domain.WebhookEndpoint) []byte { return appendEndpoint(nil, e) }

func appendEndpoint(dst []byte, e *domain.WebhookEndpoint) []byte {
	dst = appendID(append(dst, `{"id":`...), domain.PrefixEndpoint, e.ID)
	dst = appendText(append(dst, `,"url":`...), e.URL)
	if e.Secret != "" {
		dst = appendText(append(dst, `,"secret":`...), e.Secret)
	}
	dst = appendTime(append(dst, `,"created_at":`...), e.CreatedAt)
	if !e.DisabledAt.IsZero() {
		dst = appendTime(append(dst, `,"disabled_at":`...), e.DisabledAt)
	}
	return append(dst, '}')
}

// PaymentToken renders a payment token.
func PaymentToken(t *domain.PaymentToken) []byte {
	dst := appendID(append(make([]byte, 0, 192), `{"id":`...), domain.PrefixPaymentToken, t.ID)
	dst = appendText(append(dst, `,"card":{"brand":`...), string(t.Card.Brand))
	dst = appendText(append(dst, `,"last4":`...), t.Card.Last4)
	dst = strconv.AppendInt(append(dst, `,"exp_month":`...), int64(t.Card.ExpMonth), 10)
	dst = strconv.AppendInt(append(dst, `,"exp_year":`...), int64(t.Card.ExpYear), 10)
	dst = appendTime(append(dst, `},"created_at":`...), t.CreatedAt)
	return append(dst, '}')
}

// Event renders an event: the envelope around the object's own bytes.
func Event(e *domain.Event) []byte { return appendEvent(make([]byte, 0, len(e.Object)+192), e) }

// Events renders a page of events; the next page's cursor is empty on the last one.
func Events(events []domain.Event, next string) []byte { return page(events, next, appendEvent) }

func appendEvent(dst []byte, e *domain.Event) []byte {
	dst = appendID(append(dst, `{"id":`...), domain.PrefixEvent, e.ID)
	dst = appendText(append(dst, `,"type":`...), e.Type)
	dst = strconv.AppendInt(append(dst, `,"sequence":`...), e.Sequence, 10)
	dst = appendTime(append(dst, `,"created_at":`...), e.CreatedAt)
	return append(append(append(dst, `,"data":{"object":`...), e.Object...), "}}"...)
}

func appendID(dst []byte, prefix string, id [16]byte) []byte {
	return append(domain.AppendID(append(dst, '"'), prefix, id), '"')
}

func appendTime(dst []byte, t time.Time) []byte {
	return append(t.UTC().AppendFormat(append(dst, '"'), timeLayout), '"')
}

// appendText escapes only what JSON demands. All texts are valid UTF-8: the doors refuse others, and so does Postgres.
func appendText(dst []byte, text string) []byte {
	dst, _ = jsontext.AppendQuote(dst, text)
	return dst
}

// The objects as they are read back from what is stored.
type (
	payment struct {
		ID                string            `json:"id"`
		PaymentToken      string            `json:"payment_token"`
		Amount            int64             `json:"amount"`
		Currency          string            `json:"currency"`
		Capture           string            `json:"capture"`
		MerchantReference string            `json:"merchant_reference"`
		Description       string            `json:"description"`
		Metadata          map[string]string `json:"metadata"`
		State             string            `json:"state"`
		DeclineReason     string            `json:"decline_reason"`
		Authorized        int64             `json:"authorized"`
		Captured          int64             `json:"captured"`
		Refunded          int64             `json:"refunded"`
		ExpiresAt         time.Time         `json:"expires_at"`
		CreatedAt         time.Time         `json:"created_at"`
		UpdatedAt         time.Time         `json:"updated_at"`
	}
	refund struct {
		ID            string    `json:"id"`
		Payment       string    `json:"payment"`
		Amount        int64     `json:"amount"`
		Currency      string    `json:"currency"`
		State         string    `json:"state"`
		Reason        string    `json:"reason"`
		FailureReason string    `json:"failure_reason"`
		CreatedAt     time.Time `json:"created_at"`
		UpdatedAt     time.Time `json:"updated_at"`
	}
	merchant struct {
		ID            string    `json:"id"`
		Name          string    `json:"name"`
		FeeBPS        int32     `json:"fee_bps"`
		FeeFixed      int64     `json:"fee_fixed"`
		AmountLimit   int64     `json:"amount_limit"`
		VelocityLimit *int32    `json:"velocity_limit"`
		CreatedAt     time.Time `json:"created_at"`
	}
	paymentToken struct {
		ID   string `json:"id"`
		Card struct {
			Brand    string `json:"brand"`
			Last4    string `json:"last4"`
			ExpMonth int    `json:"exp_month"`
			ExpYear  int    `json:"exp_year"`
		} `json:"card"`
		CreatedAt time.Time `json:"created_at"`
	}
)

// ParsePayment reads what Payment rendered.
func ParsePayment(body []byte) (domain.Payment, error) {
	var p payment
	if err := json.Unmarshal(body, &p); err != nil {
		return domain.Payment{}, err
	}
	return p.domain(), nil
}

func (p *payment) domain() domain.Payment {
	id, _ := domain.ParseID(domain.PrefixPayment, p.ID)
	token, _ := domain.ParseID(domain.PrefixPaymentToken, p.PaymentToken)
	return domain.Payment{
		ID: id, PaymentTokenID: token, Amount: p.Amount, Currency: domain.Currency(p.Currency), Capture: domain.CaptureMethod(p.Capture),
		MerchantReference: p.MerchantReference, Description: p.Description, Metadata: p.Metadata, State: domain.PaymentState(p.State),
		DeclineReason: domain.DeclineReason(p.DeclineReason), Authorized: p.Authorized, Captured: p.Captured, Refunded: p.Refunded,
		ExpiresAt: p.ExpiresAt, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt,
	}
}

// ParseRefund reads what Refund rendered.
func ParseRefund(body []byte) (domain.Refund, error) {
	var r refund
	if err := json.Unmarshal(body, &r); err != nil {
		return domain.Refund{}, err
	}
	id, _ := domain.ParseID(domain.PrefixRefund, r.ID)
	paymentID, _ := domain.ParseID(domain.PrefixPayment, r.Payment)
	return domain.Refund{
		ID: id, PaymentID: paymentID, Amount: r.Amount, Currency: domain.Currency(r.Currency), State: domain.RefundState(r.State), Reason: r.Reason,
		FailureReason: r.FailureReason, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}, nil
}

// ParseMerchant reads what Merchant rendered.
func ParseMerchant(body []byte) (domain.Merchant, error) {
	var m merchant
	if err := json.Unmarshal(body, &m); err != nil {
		return domain.Merchant{}, err
	}
	id, _ := domain.ParseID(domain.PrefixMerchant, m.ID)
	return domain.Merchant{
		ID: id, Name: m.Name, Fees: domain.Fees{BPS: m.FeeBPS, Fixed: m.FeeFixed}, AmountLimit: m.AmountLimit, VelocityLimit: m.VelocityLimit,
		CreatedAt: m.CreatedAt,
	}, nil
}

// ParsePaymentToken reads what PaymentToken rendered.
func ParsePaymentToken(body []byte) (domain.PaymentToken, error) {
	var t paymentToken
	if err := json.Unmarshal(body, &t); err != nil {
		return domain.PaymentToken{}, err
	}
	id, _ := domain.ParseID(domain.PrefixPaymentToken, t.ID)
	card := domain.CardSummary{Brand: domain.Brand(t.Card.Brand), Last4: t.Card.Last4, ExpMonth: t.Card.ExpMonth, ExpYear: t.Card.ExpYear}
	return domain.PaymentToken{ID: id, Card: card, CreatedAt: t.CreatedAt}, nil
}
