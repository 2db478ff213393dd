package domain

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	// MaxEndpoints is how many endpoints a merchant may have.
	MaxEndpoints = 16
	// MaxWebhookAttempts is how often a delivery is tried.
	MaxWebhookAttempts = 8
	// longestWebhookWait bounds the wait before an attempt.
	longestWebhookWait = time.Hour
)

// WebhookEndpoint is where a merchant wants to be told.
type WebhookEndpoint struct {
	ID         uuid.UUID
	URL        string // as it was sent
	Secret     string // whsec_…; only where it was just made
	CreatedAt  time.Time
	DisabledAt time.Time // when its receiver said that it is gone; zero: it isn't
}

// WebhookTargets says whom webhooks may reach.
type WebhookTargets string

// The targets: https at public addresses, or anybody, over http too.
const (
	TargetsPublic WebhookTargets = "public"
	TargetsAny    WebhookTargets = "any"
)

// Target is a URL that was taken apart.
type Target struct {
	TLS   bool
	Host  string // a name or an address, without brackets
	Port  uint16 // where none is said, that of the scheme
	Shown string // without the query, which may hold a secret
}

var (
	// label is a part of a name, in lower case.
	label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	// number is the last label of what some resolvers take for an address, in forms of their own.
	number = regexp.MustCompile(`^([0-9]+|0x.*)$`)
	// rest is path and query: visible ASCII without what RFC 3986 doesn't know; an escape is % and two hex digits.
	rest = regexp.MustCompile(`^(?:[!$&-;=?-\[\]_a-z~]|%[0-9A-Fa-f]{2})*$`)
)

// maxHost is the longest name that DNS knows.
const maxHost = 253

// ParseTarget takes a URL apart by a grammar of our own: standard parsers repair what they are given, each in another way.
// proto/vectors/webhook_targets.toml has the cases.
func ParseTarget(url string, targets WebhookTargets) (Target, bool) {
	t := Target{TLS: true, Port: 443}
	after, ok := strings.CutPrefix(url, "https://")
	if !ok {
		t.TLS, t.Port = false, 80
		if after, ok = strings.CutPrefix(url, "http://"); !ok || targets != TargetsAny {
			return Target{}, false
		}
	}
	end := strings.IndexAny(after, "/?")
	if end < 0 {
		end = len(after)
	}
	authority, port := after[:end], ""
	if inner, ok := strings.CutPrefix(authority, "["); ok {
		if t.Host, port, ok = strings.Cut(inner, "]"); !ok || !isIPv6(t.Host) {
			return Target{}, false
		}
	} else {
		colon := strings.IndexByte(authority, ':')
		if colon < 0 {
			colon = len(authority)
		}
		if t.Host, port = authority[:colon], authority[colon:]; !isHost(t.Host) {
			return Target{}, false
		}
	}
	if port != "" && !t.parsePort(port) {
		return Target{}, false
	}
	t.Shown, _, _ = strings.Cut(url, "?")
	return t, rest.MatchString(after[end:])
}

// isHost takes a name of labels, or an IPv4 address.
func isHost(host string) bool {
	labels := strings.Split(host, ".")
	if number.MatchString(labels[len(labels)-1]) {
		address, err := netip.ParseAddr(host)
		return err == nil && address.Is4()
	}
	return len(host) <= maxHost && !slices.ContainsFunc(labels, func(l string) bool { return !label.MatchString(l) })
}

func isIPv6(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.Is6() && address.Zone() == ""
}

// parsePort takes a colon and 1 to 65535.
func (t *Target) parsePort(text string) bool {
	digits, ok := strings.CutPrefix(text, ":")
	port, err := strconv.ParseUint(digits, 10, 16)
	t.Port = uint16(port)
	return ok && err == nil && digits[0] != '0'
}

// refused networks are not globally reachable, or multicast: what IANA's registries of special addresses say.
var refused = func() (networks []netip.Prefix) {
	for _, text := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
	} {
		networks = append(networks, netip.MustParsePrefix(text))
	}
	return networks
}()

// The networks of IPv6 that stand for IPv4 addresses, and where those begin in them.
var embedding = []struct {
	network netip.Prefix
	at      int
}{
	{netip.MustParsePrefix("::ffff:0:0/96"), 12},
	{netip.MustParsePrefix("64:ff9b::/96"), 12},
	{netip.MustParsePrefix("2002::/16"), 2},
}

// Allow reports whether a webhook may be sent to an address. An IPv4 address within an IPv6 one is judged by itself.
func (t WebhookTargets) Allow(address netip.Addr) bool {
	if t == TargetsAny {
		return true
	}
	address = address.WithZone("")
	for _, e := range embedding {
		// A prefix of IPv6 doesn't contain an address that is mapped into it.
		if bytes := address.As16(); address.Is6() && (e.network.Contains(address) || e.at == 12 && address.Is4In6()) {
			address = netip.AddrFrom4([4]byte(bytes[e.at:]))
			break
		}
	}
	return !slices.ContainsFunc(refused, func(network netip.Prefix) bool { return network.Contains(address) })
}

// Fault says why an attempt failed.
type Fault string

// The faults.
const (
	FaultConnect        Fault = "connect"
	FaultTimeout        Fault = "timeout"
	FaultRefusedAddress Fault = "refused_address"
	FaultTLS            Fault = "tls"
	FaultStatus         Fault = "status"
	FaultBody           Fault = "body"
	FaultDisabled       Fault = "disabled"
)

// Attempt is what came of one attempt.
type Attempt struct {
	Status int   // of the answer; 0: there was none
	Fault  Fault // empty: it succeeded
}

// WebhookOutcome is what follows from an attempt, as metrics show it.
type WebhookOutcome string

// The outcomes.
const (
	WebhookSucceeded WebhookOutcome = "succeeded"
	WebhookFailed    WebhookOutcome = "failed"
	WebhookRetried   WebhookOutcome = "retried"
	WebhookDisabled  WebhookOutcome = "disabled" // the receiver is gone for good, and so is the delivery
)

const statusGone = 410

// Outcome decides after the attempt of this number, counted from 1. Where it is tried again, it answers after what time at the latest: retry
// is that before the second attempt, and it doubles with each.
func (a Attempt) Outcome(attempt int16, retry time.Duration) (WebhookOutcome, time.Duration) {
	switch {
	case a.Fault == "":
		return WebhookSucceeded, 0
	case a.Fault == FaultDisabled, a.Status == statusGone:
		return WebhookDisabled, 0
	case attempt >= MaxWebhookAttempts:
		return WebhookFailed, 0
	}
	return WebhookRetried, min(retry<<(attempt-1), longestWebhookWait) // at most an hour, doubled six times
}
