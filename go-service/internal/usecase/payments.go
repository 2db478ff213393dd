package usecase

import (
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/acquirer"
	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/hashpool"
	"twinpay.dev/payments/internal/reply"
	"twinpay.dev/payments/internal/store"
	"twinpay.dev/payments/internal/telemetry"
)

// Payments is the one entrance to all verbs. Its fields are set once, before the first call.
type Payments struct {
	DB                  *store.DB
	Acquirer            *acquirer.Client
	HashPool            *hashpool.Pool
	Telemetry           *telemetry.Telemetry
	Now                 func() time.Time
	Pepper              [32]byte
	HashIterations      int
	AuthorizationPeriod time.Duration
	Lease               time.Duration
	Streams             *Streams // nil for the workers
	WebhookMaster       [32]byte
	WebhookTargets      domain.WebhookTargets

	running  sync.WaitGroup // operations that run on when their client has gone
	settling sync.Map       // of *store.Operation whose lease is ours, to the context.Context that has its trace
}

// Wait returns when no operation that moves money is running.
func (p *Payments) Wait() { p.running.Wait() }

// now is in the resolution that Postgres keeps.
func (p *Payments) now() time.Time { return p.Now().UTC().Truncate(time.Microsecond) }

// Call is what a door knows of a request besides its members.
type Call struct {
	MerchantID uuid.UUID          // whose credential it is; nil for the administrator
	Key        string             // the idempotency key; empty: none
	Violations []domain.Violation // what a door has found already, such as query parameters
}

// Reply is the answer of a verb that keeps its replies: the HTTP status and body. The gRPC door decodes them.
type Reply struct {
	Status   int
	Body     []byte
	Replayed bool
}

func fresh(answer store.Stored) Reply { return Reply{Status: answer.Status, Body: answer.Body} }

// problem is a refusal in the form in which it is stored.
func problem(e *domain.Error) store.Stored {
	return store.Stored{Status: reply.Problems[e.Reason].Status, Body: reply.Problem(e)}
}

// checker collects violations in the order in which members are checked; the first rule that a member breaks is the one it is told.
type checker struct{ violations []domain.Violation }

func (c *checker) add(field string, reason domain.ViolationReason) {
	c.violations = append(c.violations, domain.Violation{Field: field, Reason: reason})
}

// integer is for a required integer.
func (c *checker) integer(field string, value *int64, smallest, largest int64) int64 {
	if value == nil {
		c.add(field, domain.Required)
		return 0
	}
	return c.integerOr(field, value, 0, smallest, largest)
}

// integerOr is for an integer with a default.
func (c *checker) integerOr(field string, value *int64, absent, smallest, largest int64) int64 {
	if value == nil {
		return absent
	}
	if *value < smallest || *value > largest {
		c.violations = append(c.violations, domain.Violation{Field: field, Reason: domain.OutOfRange, Min: smallest, Max: largest})
	}
	return *value
}

// text is for a required text of so many bytes.
func (c *checker) text(field string, value *string, shortest, longest int) string {
	if value == nil {
		c.add(field, domain.Required)
		return ""
	}
	c.length(field, *value, shortest, longest)
	return *value
}

// length checks a text that is there, and reports whether it keeps the rules.
func (c *checker) length(field, value string, shortest, longest int) bool {
	switch {
	case len(value) < shortest:
		c.violations = append(c.violations, domain.Violation{Field: field, Reason: domain.TooShort, Min: int64(shortest)})
	case len(value) > longest:
		c.violations = append(c.violations, domain.Violation{Field: field, Reason: domain.TooLong, Max: int64(longest)})
	case strings.IndexByte(value, 0) >= 0:
		c.add(field, domain.HasNUL)
	default:
		return true
	}
	return false
}

// id is for an optional id with this prefix.
func (c *checker) id(field, prefix string, text *string) *uuid.UUID {
	if text == nil {
		return nil
	}
	id, ok := domain.ParseID(prefix, *text)
	if !ok {
		c.add(field, domain.Malformed)
	}
	return &id
}

func (c *checker) err() error {
	if len(c.violations) == 0 {
		return nil
	}
	return &domain.Error{Reason: domain.ReasonValidationFailed, Violations: c.violations}
}
