package httpapi

import (
	"reflect"
	"strings"
	"testing"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/usecase"
)

func TestWhatIsWrongWithAQueryIsToldOnceANameInItsOrder(t *testing.T) {
	violation := func(reason domain.ViolationReason) func(string) domain.Violation {
		return func(name string) domain.Violation { return domain.Violation{Field: name, Reason: reason} }
	}
	unknown, malformed, duplicate := violation(domain.UnknownParameter), violation(domain.Malformed), violation(domain.DuplicateParameter)
	bad, long := malformed("query"), strings.Repeat("a", 64)
	for query, want := range map[string][]domain.Violation{
		"": nil, "x=1&y=%41": nil, "a=1": {unknown("a")}, "b&a=2&b=3": {unknown("b"), unknown("a")}, "A=1&%61=2&a": {bad, unknown("a")}, "&": {bad},
		"a;b": {bad}, long + "a": {bad}, long: {unknown(long)}, "query=1&B": {unknown("query"), bad},
		"x=1&a=1&x=2&x=3": {unknown("a"), duplicate("x")}, "x=%zz&x=1&y=1&y=%zz": {malformed("x"), duplicate("y")},
		"x=%": {malformed("x")}, "x=%4": {malformed("x")}, "x=%4g": {malformed("x")}, "x=%+1": {malformed("x")}, "x=%ff": {malformed("x")}, "x=%C3%28": {malformed("x")},
	} {
		if _, got := parseQuery(query, []string{"x", "y"}); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %v, want %v", query, got, want)
		}
	}
}

func asked(query string) *request {
	values, violations := parseQuery(query, []string{"x", "y", "z"})
	return &request{query: values, call: usecase.Call{Violations: violations}}
}

func TestValuesAreDecodedAndPlusIsNoSpace(t *testing.T) {
	r := asked("x=%C3%A9+%3d=%26&y")
	if x, y, z := r.text("x"), r.text("y"), r.text("z"); x == nil || *x != "é+==&" || y == nil || *y != "" || z != nil || r.call.Violations != nil {
		t.Errorf("got %+v", r)
	}
	if r := asked("x=1&x=2"); r.text("x") != nil {
		t.Errorf("got %+v", r)
	}
}

func TestIntegersOfAQueryAreWrittenAsInJSON(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "-1": -1, "100": 100, "9223372036854775807": 1<<63 - 1} {
		r := asked("x=" + text)
		if got := r.integer("x"); got == nil || *got != want || r.call.Violations != nil {
			t.Errorf("%s: got %+v", text, r)
		}
	}
	for _, text := range []string{"", "+1", "-0", "01", "1.0", "1e2", "x", "9223372036854775808"} {
		r := asked("x=" + text)
		if got := r.integer("x"); got != nil || !reflect.DeepEqual(r.call.Violations, []domain.Violation{{Field: "x", Reason: domain.Malformed}}) {
			t.Errorf("%s: got %+v", text, r)
		}
	}
}
