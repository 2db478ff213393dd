package domain

import (
	"net/netip"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
)

type targetVectors struct {
	Refused []string
	Address []struct {
		Address string
		Public  bool
	}
	URL []struct {
		URL         string
		Public, Any bool
	}
}

func readTargets(t *testing.T) (file targetVectors) {
	t.Helper()
	if _, err := toml.DecodeFile("../../../proto/vectors/webhook_targets.toml", &file); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAddressesArePublicAsTheVectorsSay(t *testing.T) {
	file := readTargets(t)
	if len(file.Refused) != len(refused) {
		t.Fatalf("%d networks, want %d", len(refused), len(file.Refused))
	}
	for i, want := range file.Refused {
		if refused[i] != netip.MustParsePrefix(want) {
			t.Errorf("got %s, want %s", refused[i], want)
		}
	}
	for _, c := range file.Address {
		address := netip.MustParseAddr(c.Address)
		if got := TargetsPublic.Allow(address); got != c.Public || !TargetsAny.Allow(address) {
			t.Errorf("%s: public %v, want %v", c.Address, got, c.Public)
		}
	}
	if TargetsPublic.Allow(netip.MustParseAddr("fe80::1%eth0")) {
		t.Error("a zone hides an address")
	}
}

func TestURLsAreTakenAsTheVectorsSay(t *testing.T) {
	for _, c := range readTargets(t).URL {
		if _, got := ParseTarget(c.URL, TargetsPublic); got != c.Public {
			t.Errorf("public: %s: got %v", c.URL, got)
		}
		if _, got := ParseTarget(c.URL, TargetsAny); got != c.Any {
			t.Errorf("any: %s: got %v", c.URL, got)
		}
	}
}

func TestAURLIsTakenApart(t *testing.T) {
	for url, want := range map[string]Target{
		"https://[2606:4700::1]:8443/a?b=/?c": {true, "2606:4700::1", 8443, "https://[2606:4700::1]:8443/a"},
		"http://a?b":                          {false, "a", 80, "http://a"},
		"https://8.8.8.8":                     {true, "8.8.8.8", 443, "https://8.8.8.8"},
	} {
		if got, ok := ParseTarget(url, TargetsAny); !ok || got != want {
			t.Errorf("%s: got %+v, want %+v", url, got, want)
		}
	}
}

func TestEveryVisibleCharacterOfAPathIsTakenOrNot(t *testing.T) {
	for b := range 256 {
		known := b > ' ' && b < 0x7f
		for _, odd := range []byte("\"#<>\\^`{|}%") {
			known = known && byte(b) != odd
		}
		if _, got := ParseTarget("https://a/"+string([]byte{byte(b)}), TargetsPublic); got != known {
			t.Errorf("%q: got %v, want %v", byte(b), got, known)
		}
	}
}

func TestWaitsDoubleUpToAnHourAndTheEighthAttemptIsTheLast(t *testing.T) {
	failed := Attempt{Status: 500, Fault: FaultStatus}
	for i, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 3600} {
		if outcome, wait := failed.Outcome(int16(i+1), 100*time.Second); outcome != WebhookRetried || wait != want*time.Second {
			t.Errorf("attempt %d: got %s after %s, want %ds", i+1, outcome, wait, want)
		}
	}
	if outcome, _ := failed.Outcome(8, time.Second); outcome != WebhookFailed {
		t.Errorf("got %s", outcome)
	}
	if _, wait := failed.Outcome(7, time.Hour); wait != time.Hour {
		t.Errorf("got %s", wait)
	}
}

func TestGoneIsForGoodAndASuccessNeedsNoStatusBesideIt(t *testing.T) {
	for a, want := range map[Attempt]WebhookOutcome{
		{Status: 204}:                     WebhookSucceeded,
		{Status: 410, Fault: FaultStatus}: WebhookDisabled,
		{Fault: FaultDisabled}:            WebhookDisabled,
		{Status: 200, Fault: FaultBody}:   WebhookRetried,
		{Status: 302, Fault: FaultStatus}: WebhookRetried,
		{Fault: FaultRefusedAddress}:      WebhookRetried,
	} {
		if got, _ := a.Outcome(1, time.Second); got != want {
			t.Errorf("%+v: got %s, want %s", a, got, want)
		}
	}
}
