package usecase

import (
	"errors"
	"strings"
	"testing"
	"time"

	"twinpay.dev/payments/internal/domain"
)

func TestKeysArePlainOrStructuredStringsOfVisibleASCII(t *testing.T) {
	longest := strings.Repeat("k", 255)
	for value, want := range map[string]string{"order-1": "order-1", `a"b`: `a"b`, longest: longest, `"order-1"`: "order-1", `"a\"\\b"`: `a"\b`} {
		if got, err := ParseKey(KeyRequired, []string{value}); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", value, got, err, want)
		}
	}
	for _, value := range []string{"", "a b", "é", `"`, `""`, `"a`, `"a"b`, `"a\b"`, `"a b"`, `"a\"`, longest + "k", "a\tb", "a\x7f"} {
		if got, err := ParseKey(KeyOptional, []string{value}); reason(err) != domain.ReasonIdempotencyKeyInvalid {
			t.Errorf("%q: got %q, %v", value, got, err)
		}
	}
	if _, err := ParseKey(KeyRequired, nil); reason(err) != domain.ReasonIdempotencyKeyMissing {
		t.Errorf("no key: %v", err)
	}
	if _, err := ParseKey(KeyRequired, []string{"a", "a"}); reason(err) != domain.ReasonIdempotencyKeyInvalid {
		t.Errorf("two keys: %v", err)
	}
	if key, err := ParseKey(KeyIgnored, []string{"", "x y"}); key != "" || err != nil {
		t.Errorf("ignored: %q, %v", key, err)
	}
}

func TestTimeoutsAreOneToNineDigits(t *testing.T) {
	for value, want := range map[string]time.Duration{"1": time.Millisecond, "000000100": 100 * time.Millisecond, "30001": MaxTimeout, "999999999": MaxTimeout} {
		if got, err := ParseTimeout([]string{value}); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", value, got, err, want)
		}
	}
	for _, value := range []string{"", "a", "-1", "+1", "1.5", " 1", "1_0", "1000000000", "0x1"} {
		if _, err := ParseTimeout([]string{value}); reason(err) != domain.ReasonValidationFailed {
			t.Errorf("%q: %v", value, err)
		}
	}
	if _, err := ParseTimeout([]string{"1", "1"}); reason(err) != domain.ReasonValidationFailed {
		t.Errorf("two values: %v", err)
	}
	if _, err := ParseTimeout([]string{"000"}); reason(err) != domain.ReasonDeadlineExceeded {
		t.Errorf("zero: %v", err)
	}
	if got, err := ParseTimeout(nil); err != nil || got != DefaultTimeout {
		t.Errorf("none: %s, %v", got, err)
	}
}

func reason(err error) domain.Reason {
	var e *domain.Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Reason
}
