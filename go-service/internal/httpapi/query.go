package httpapi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/usecase"
)

// maxParameterName bounds what a reply repeats of a query.
const maxParameterName = 64

// parseQuery reads `name=value` joined by `&`, of an operation that has the parameters known. A name stands as it is, a value may be
// percent-encoded; `+` is no space. What is wrong is told once a name, in the order of the query; such a parameter is as absent.
func parseQuery(raw string, known []string) (values map[string]string, violations []domain.Violation) {
	if raw == "" {
		return nil, nil
	}
	values, told := map[string]string{}, map[string]bool{}
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		violation := domain.Violation{Field: name}
		_, given := values[name]
		decoded, err := url.PathUnescape(value)
		switch {
		case !parameterName(name):
			violation, name = domain.Violation{Field: "query", Reason: domain.Malformed}, "" // no name is empty
		case !slices.Contains(known, name):
			violation.Reason = domain.UnknownParameter
		case given:
			violation.Reason = domain.DuplicateParameter
		case err != nil || !utf8.ValidString(decoded):
			violation.Reason = domain.Malformed
		case !told[name]:
			values[name] = decoded
			continue
		}
		if !told[name] {
			told[name] = true
			delete(values, name)
			violations = append(violations, violation)
		}
	}
	return values, violations
}

func parameterName(name string) bool {
	if len(name) < 1 || len(name) > maxParameterName {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// text is nil where the parameter is absent.
func (r *request) text(name string) *string {
	value, ok := r.query[name]
	if !ok {
		return nil
	}
	return &value
}

// integer reads one that is written as JSON would.
func (r *request) integer(name string) *int64 {
	value, ok := r.query[name]
	if !ok {
		return nil
	}
	number, err := strconv.ParseInt(value, 10, 64)
	if err != nil || strconv.FormatInt(number, 10) != value {
		r.call.Violations = append(r.call.Violations, domain.Violation{Field: name, Reason: domain.Malformed})
		return nil
	}
	return &number
}

// The parameters of lists.
var (
	listPaymentsParameters         = []string{"limit", "cursor", "state", "payment_token"}
	listRefundsParameters          = []string{"limit", "cursor", "payment"}
	listLedgerEntriesParameters    = []string{"limit", "cursor", "account"}
	listEventsParameters           = []string{"limit", "cursor", "type"}
	listWebhookEndpointsParameters = []string{"limit", "cursor"}
)

func (r *request) page() usecase.Page {
	return usecase.Page{Field: "limit", Size: r.integer("limit"), Cursor: r.text("cursor")}
}
