package reply

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"twinpay.dev/payments/internal/domain"
)

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
	domain.ReasonAmountExceedsRefundable: {409, 0, "The amount exceeds what can be refunded",
		"At most the captured amount less what is already refunded can be refunded."},
	domain.ReasonCursorInvalid: {400, 0, "The cursor isn't valid",
		"Send a cursor as it was given, with the same filter; or none, to begin with the newest."},
	domain.ReasonRequestTimeout: {408, 0, "The body came too slowly",
		"A body must arrive within ten seconds of the request's head."},
	domain.ReasonRateLimited: {429, 1, "Too many requests with this key",
		"Nothing was done; retry after the time given, and more slowly."},
}

// descriptions say what a violation means; {min} and {max} stand for the bound.
var descriptions = map[domain.ViolationReason]string{
	domain.Required:           "is required",
	domain.OutOfRange:         "must be from {min} to {max}",
	domain.TooShort:           "must have at least {min} bytes",
	domain.TooLong:            "must have at most {max} bytes",
	domain.TooMany:            "must have at most {max} members",
	domain.Malformed:          "is malformed",
	domain.UnknownValue:       "isn't one of the listed values",
	domain.HasNUL:             "must not contain NUL",
	domain.NullValue:          "must not be null",
	domain.UnknownParameter:   "isn't a parameter of this operation",
	domain.DuplicateParameter: "is given more than once",
}

// Describe says in words which rule a member breaks.
func Describe(v domain.Violation) string {
	text := descriptions[v.Reason]
	if !strings.Contains(text, "{") {
		return text
	}
	return strings.NewReplacer("{min}", strconv.FormatInt(v.Min, 10), "{max}", strconv.FormatInt(v.Max, 10)).Replace(text)
}

type storedProblem struct {
	Reason        string   `json:"reason"`
	DeclineReason string   `json:"decline_reason"`
	CurrentState  string   `json:"current_state"`
	AllowedStates []string `json:"allowed_states"`
	Payment       *payment `json:"payment"`
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
