// Package reply renders objects and problems as JSON bytes, and reads them back. What is stored under an idempotency key or sent as an
// event is made here, below the use cases, so that a replay is the same bytes; the doors render all else through it. Nothing here may know
// of HTTP or gRPC beyond the status that a problem names.
package reply

import (
	"maps"
	"slices"
	"strconv"
	"strings"
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

// APIKey renders a key with its secret.
func APIKey(k *domain.APIKey) []byte {
	dst := appendID([]byte(`{"id":`), domain.PrefixAPIKey, k.ID)
	dst = appendID(append(dst, `,"merchant_id":`...), domain.PrefixMerchant, k.MerchantID)
	dst = appendText(append(dst, `,"secret":`...), k.Secret)
	dst = appendTime(append(dst, `,"created_at":`...), k.CreatedAt)
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
	storedProblem struct {
		Reason        string   `json:"reason"`
		DeclineReason string   `json:"decline_reason"`
		CurrentState  string   `json:"current_state"`
		AllowedStates []string `json:"allowed_states"`
		Payment       *payment `json:"payment"`
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

// ParseProblem reads a stored problem. Only its payment knows the payment's id: where there is none, the path does.
func ParseProblem(body []byte) (*domain.Error, error) {
	var p storedProblem
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, err
	}
	e := &domain.Error{Reason: domain.Reason(p.Reason), DeclineReason: domain.DeclineReason(p.DeclineReason), CurrentState: domain.PaymentState(p.CurrentState)}
	for _, state := range p.AllowedStates {
		e.AllowedStates = append(e.AllowedStates, domain.PaymentState(state))
	}
	if p.Payment != nil {
		shown := p.Payment.domain()
		e.Payment, e.PaymentID = &shown, shown.ID
	}
	return e, nil
}

// maxViolations is how many a reply lists; a client that breaks more rules learns of the rest the next time.
const maxViolations = 20

// Listed are the violations that a reply shows.
func Listed(violations []domain.Violation) []domain.Violation {
	return violations[:min(len(violations), maxViolations)]
}

// Problem renders an error as RFC 9457 problem+json. It panics for a reason that isn't in the table, which a test excludes.
func Problem(e *domain.Error) []byte {
	kind, ok := Problems[e.Reason]
	if !ok {
		panic("no problem for reason " + string(e.Reason))
	}
	dst := append(make([]byte, 0, 512), `{"type":"https://twinpay.dev/errors/`...)
	dst = append(append(dst, strings.ToLower(string(e.Reason))...), '"')
	dst = appendText(append(dst, `,"title":`...), kind.Title)
	dst = strconv.AppendInt(append(dst, `,"status":`...), int64(kind.Status), 10)
	dst = appendText(append(dst, `,"detail":`...), kind.Detail)
	dst = appendText(append(dst, `,"reason":`...), string(e.Reason))
	if len(e.Violations) > 0 {
		dst = append(dst, `,"violations":[`...)
		for i, v := range Listed(e.Violations) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendText(append(dst, `{"field":`...), v.Field)
			dst = appendText(append(dst, `,"reason":`...), string(v.Reason))
			dst = appendText(append(dst, `,"description":`...), Describe(v))
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	if e.DeclineReason != "" {
		dst = appendText(append(dst, `,"decline_reason":`...), string(e.DeclineReason))
	}
	if e.CurrentState != "" {
		dst = appendText(append(dst, `,"current_state":`...), string(e.CurrentState))
	}
	if len(e.AllowedStates) > 0 {
		dst = append(dst, `,"allowed_states":[`...)
		for i, state := range e.AllowedStates {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendText(dst, string(state))
		}
		dst = append(dst, ']')
	}
	if e.Payment != nil {
		dst = AppendPayment(append(dst, `,"payment":`...), e.Payment)
	}
	return append(dst, '}')
}

// Kind is what all problems of one reason have in common.
type Kind struct {
	Status     int // over HTTP
	RetryAfter int // seconds; 0: nothing is said
	Title      string
	Detail     string // over gRPC, the status message
}

// Problems has a row for every reason; a unit test compares it with proto/errors.toml.
var Problems = map[domain.Reason]Kind{
	domain.ReasonMalformedBody: {400, 0, "The body can't be read",
		"The body must be one JSON object in UTF-8 with only the documented members, each at most once; amounts are integers."},
	domain.ReasonValidationFailed: {400, 0, "The request breaks a rule",
		"Each violation names a member and the rule that it breaks."},
	domain.ReasonCurrencyUnsupported: {400, 0, "The currency isn't supported",
		"Supported currencies are USD, EUR, GBP and JPY."},
	domain.ReasonCardInvalid: {400, 0, "The card isn't valid",
		"The card number's check digit is wrong, or the card has expired."},
	domain.ReasonIdempotencyKeyMissing: {400, 0, "An idempotency key is required",
		"Send the header Idempotency-Key (gRPC metadata idempotency-key) with a value that is unique to this request."},
	domain.ReasonIdempotencyKeyInvalid: {400, 0, "The idempotency key isn't valid",
		"An idempotency key is sent once and has 1 to 255 visible ASCII characters."},
	domain.ReasonUnauthenticated: {401, 0, "The credential is missing or wrong",
		"Send Authorization: Bearer with a valid API key."},
	domain.ReasonCardDeclined: {402, 0, "The card was declined",
		"The card's issuer declined the payment; decline_reason says why."},
	domain.ReasonRiskBlocked: {402, 0, "The payment was blocked",
		"A risk rule of the merchant blocked the payment: the amount or the number of attempts with this card is over the limit."},
	domain.ReasonOperationRefused: {402, 0, "The card network refused the operation",
		"The card network refused the operation; the payment is unchanged."},
	domain.ReasonPermissionDenied: {403, 0, "The credential is of the wrong kind",
		"Admin operations take the admin token, all others a merchant's API key."},
	domain.ReasonResourceNotFound: {404, 0, "There is no such object",
		"No object of this merchant has the given id."},
	domain.ReasonRouteNotFound: {404, 0, "There is no such route",
		"The path isn't one of this API."},
	domain.ReasonMethodNotAllowed: {405, 0, "The method isn't allowed here",
		"The header Allow lists the methods of this path."},
	domain.ReasonPaymentStateInvalid: {409, 0, "The payment's state doesn't allow this",
		"The operation needs a payment in one of allowed_states; it is in current_state."},
	domain.ReasonAmountExceedsCapturable: {409, 0, "The amount exceeds what can be captured",
		"At most the authorized amount less what is already captured can be captured."},
	domain.ReasonPaymentBusy: {409, 1, "Another operation of the payment is pending",
		"Wait until the pending operation has ended, then retry with the same key."},
	domain.ReasonIdempotencyInProgress: {409, 1, "The first request with this key is still running",
		"Retry with the same key to get the first request's reply."},
	domain.ReasonDuplicateReference: {409, 0, "The merchant reference is taken",
		"Another payment of this merchant has the same merchant_reference."},
	domain.ReasonPayloadTooLarge: {413, 0, "The body is too large",
		"A body has at most 65536 bytes."},
	domain.ReasonUnsupportedMediaType: {415, 0, "The content type isn't supported",
		"Send Content-Type: application/json."},
	domain.ReasonIdempotencyKeyReused: {422, 0, "The idempotency key belongs to another request",
		"This key was used for a request with other content; use a new key for a new request."},
	domain.ReasonInternal: {500, 0, "Something went wrong here",
		"The outcome is unknown; retry with the same idempotency key, and quote the request id when asking for help."},
	domain.ReasonOverloaded: {503, 1, "The service is overloaded",
		"Nothing was done; retry after the time given."},
	domain.ReasonAcquirerUnavailable: {503, 1, "The card network can't be reached",
		"Nothing was done; retry with the same key after the time given."},
	domain.ReasonDeadlineExceeded: {504, 0, "The deadline passed",
		"Nothing was done before the request's deadline; retry with more time."},
	domain.ReasonOutcomeUnknown: {504, 0, "The outcome isn't known yet",
		"The operation may have been done and is being settled; retry with the same key to learn its outcome."},
}

// descriptions say what a violation means; {min} and {max} stand for the bound.
var descriptions = map[domain.ViolationReason]string{
	domain.Required:         "is required",
	domain.OutOfRange:       "must be from {min} to {max}",
	domain.TooShort:         "must have at least {min} bytes",
	domain.TooLong:          "must have at most {max} bytes",
	domain.TooMany:          "must have at most {max} members",
	domain.Malformed:        "is malformed",
	domain.UnknownValue:     "isn't one of the listed values",
	domain.HasNUL:           "must not contain NUL",
	domain.NullValue:        "must not be null",
	domain.UnknownParameter: "isn't a parameter of this operation",
}

// Describe says in words which rule a member breaks.
func Describe(v domain.Violation) string {
	text := descriptions[v.Reason]
	if !strings.Contains(text, "{") {
		return text
	}
	return strings.NewReplacer("{min}", strconv.FormatInt(v.Min, 10), "{max}", strconv.FormatInt(v.Max, 10)).Replace(text)
}
