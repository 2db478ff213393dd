// Package config is the only reader of the environment. Load answers one struct or an error that names the variable, the problem with its
// value and the bound, before a port is bound. Nothing here may be read a second time.
package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"twinpay.dev/payments/internal/domain"
)

const prefix = "TWINPAY_"

// Config is the whole configuration of a service.
type Config struct {
	DatabaseURL         string
	DatabaseConnections int32
	WorkerConnections   int32
	DatabaseWait        time.Duration
	AcquirerAddr        string // host:port
	HTTPAddr            string
	GRPCAddr            string
	AdminAddr           string
	AdminToken          string
	Pepper              [32]byte
	HashIterations      int
	HashPermits         int64
	HashQueue           int64
	HashWait            time.Duration
	AuthorizationPeriod time.Duration
	Lease               time.Duration
	RateLimit           int // requests a second of one key; 0: no limit
	RateBurst           int
	BodyTimeout         time.Duration
	Streams             int
	StreamHeartbeat     time.Duration
	StreamWrite         time.Duration
	KeyAge              time.Duration
	WebhookMaster       [32]byte
	WebhookTargets      domain.WebhookTargets
	WebhookRetry        time.Duration
	LogLevel            slog.Level
	OTLPEndpoint        string // OTEL_EXPORTER_OTLP_ENDPOINT; empty: spans aren't exported
}

// The defaults that depend on the machine, by the words that proto/config.toml has for them.
const (
	defaultCores      = "cores"
	default4xPermits  = "4 x permits"
	hashQueuePerCores = 4
)

// variable is a row of proto/config.toml; a unit test compares the two.
type variable struct {
	name, kind  string
	required    bool
	defaultText string
	min, max    int64  // of an integer, or of a text's bytes
	form        string // of a url or a choice
	about       string
	set         func(c *Config, text string, number int64) error // nil: another program reads it
}

// variables are in the order of proto/config.toml, and so that what a default needs stands above it.
var variables = []variable{
	{name: "DATABASE_URL", kind: "url", required: true, form: "postgres://user:password@host:port/database",
		about: "Postgres, as the role twinpay_service; `payments migrate` takes the owner's", set: setDatabaseURL},
	{name: "DATABASE_CONNECTIONS", kind: "integer", defaultText: "16", min: 1, max: 200, about: "connections for requests",
		set: func(c *Config, _ string, n int64) error { c.DatabaseConnections = int32(n); return nil }},
	{name: "WORKER_CONNECTIONS", kind: "integer", defaultText: "4", min: 1, max: 50, about: "connections for the workers, so that they and the requests can't starve each other",
		set: func(c *Config, _ string, n int64) error { c.WorkerConnections = int32(n); return nil }},
	{name: "DATABASE_WAIT_MS", kind: "integer", defaultText: "100", min: 1, max: 30_000, about: "how long a request's first statement waits for a connection before it is shed",
		set: func(c *Config, _ string, n int64) error { c.DatabaseWait = milliseconds(n); return nil }},
	{name: "ACQUIRER_URL", kind: "url", required: true, form: "http://host:port", about: "the card network's gRPC endpoint, http://host:port",
		set: setAcquirerURL},
	{name: "HTTP_ADDR", kind: "address", defaultText: "127.0.0.1:8080", about: "the HTTP door; port 0 takes any free one",
		set: func(c *Config, text string, _ int64) error { c.HTTPAddr = text; return checkAddress(text) }},
	{name: "GRPC_ADDR", kind: "address", defaultText: "127.0.0.1:9080", about: "the gRPC door",
		set: func(c *Config, text string, _ int64) error { c.GRPCAddr = text; return checkAddress(text) }},
	{name: "ADMIN_ADDR", kind: "address", defaultText: "127.0.0.1:9480", about: "health, version and metrics; not for the public",
		set: func(c *Config, text string, _ int64) error { c.AdminAddr = text; return checkAddress(text) }},
	{name: "ADMIN_TOKEN", kind: "text", required: true, min: 32, max: 255, about: "the credential of the admin operations, visible ASCII",
		set: func(c *Config, text string, _ int64) error { c.AdminToken = text; return nil }},
	{name: "PEPPER", kind: "hex", required: true, min: 64, max: 64, about: "the key of all card fingerprints: 32 bytes as 64 hex digits; never change it", set: setKey(func(c *Config) *[32]byte { return &c.Pepper })},
	{name: "HASH_ITERATIONS", kind: "integer", defaultText: "16384", min: 1, max: 10_000_000, about: "PBKDF2 rounds of a fingerprint; another number makes other fingerprints",
		set: func(c *Config, _ string, n int64) error { c.HashIterations = int(n); return nil }},
	{name: "HASH_PERMITS", kind: "integer", defaultText: defaultCores, min: 1, max: 1024, about: "hashes at once",
		set: func(c *Config, _ string, n int64) error { c.HashPermits = n; return nil }},
	{name: "HASH_QUEUE", kind: "integer", defaultText: default4xPermits, min: 0, max: 65_536, about: "hashes that may wait",
		set: func(c *Config, _ string, n int64) error { c.HashQueue = n; return nil }},
	{name: "HASH_WAIT_MS", kind: "integer", defaultText: "20", min: 0, max: 30_000, about: "how long a hash waits before it is shed",
		set: func(c *Config, _ string, n int64) error { c.HashWait = milliseconds(n); return nil }},
	{name: "AUTHORIZATION_DAYS", kind: "integer", defaultText: "7", min: 1, max: 365, about: "how long an authorisation can be captured",
		set: func(c *Config, _ string, n int64) error {
			c.AuthorizationPeriod = time.Duration(n) * 24 * time.Hour
			return nil
		}},
	{name: "LEASE_MS", kind: "integer", defaultText: "4000", min: 100, max: 60_000, about: "how long a claimed operation belongs to its request before the recovery takes it",
		set: func(c *Config, _ string, n int64) error { c.Lease = milliseconds(n); return nil }},
	{name: "RATE_LIMIT", kind: "integer", defaultText: "1000", min: 0, max: 1_000_000, about: "requests a second of one API key; 0: no limit",
		set: func(c *Config, _ string, n int64) error { c.RateLimit = int(n); return nil }},
	{name: "RATE_BURST", kind: "integer", defaultText: "1000", min: 1, max: 1_000_000, about: "requests of one API key at once",
		set: func(c *Config, _ string, n int64) error { c.RateBurst = int(n); return nil }},
	{name: "BODY_TIMEOUT_MS", kind: "integer", defaultText: "10000", min: 1, max: 60_000, about: "how long a body may take to arrive after its request's head",
		set: func(c *Config, _ string, n int64) error { c.BodyTimeout = milliseconds(n); return nil }},
	{name: "STREAMS", kind: "integer", defaultText: "1000", min: 0, max: 65_536, about: "event streams at once; further ones are shed",
		set: func(c *Config, _ string, n int64) error { c.Streams = int(n); return nil }},
	{name: "STREAM_HEARTBEAT_MS", kind: "integer", defaultText: "15000", min: 10, max: 60_000, about: "the silence after which a stream sends a heartbeat",
		set: func(c *Config, _ string, n int64) error { c.StreamHeartbeat = milliseconds(n); return nil }},
	{name: "STREAM_WRITE_MS", kind: "integer", defaultText: "10000", min: 10, max: 60_000, about: "how long a stream's consumer may leave a message unread before it is dropped",
		set: func(c *Config, _ string, n int64) error { c.StreamWrite = milliseconds(n); return nil }},
	{name: "KEY_HOURS", kind: "integer", defaultText: "24", min: 1, max: 720, about: "how long an idempotency key is kept",
		set: func(c *Config, _ string, n int64) error { c.KeyAge = time.Duration(n) * time.Hour; return nil }},
	{name: "WEBHOOK_MASTER", kind: "hex", required: true, min: 64, max: 64,
		about: "the key that webhook secrets are derived from: 32 bytes as 64 hex digits; changing it changes every secret",
		set:   setKey(func(c *Config) *[32]byte { return &c.WebhookMaster })},
	{name: "WEBHOOK_TARGETS", kind: "choice", defaultText: "public", form: "public or any",
		about: "public: https to public addresses only; any: also http and private addresses, for local use", set: setTargets},
	{name: "WEBHOOK_RETRY_MS", kind: "integer", defaultText: "5000", min: 1, max: 3_600_000,
		about: "the longest wait before a webhook's second attempt; it doubles with each, up to an hour",
		set:   func(c *Config, _ string, n int64) error { c.WebhookRetry = milliseconds(n); return nil }},
	{name: "LOG_LEVEL", kind: "level", defaultText: "info", about: "error, warn, info or debug", set: setLogLevel},
	{name: "SERVICE_PASSWORD", kind: "text", min: 0, max: 255, about: "read by `payments migrate` alone: the password to give to the role twinpay_service"},
}

// Load reads every variable through lookup, such as os.LookupEnv. An empty value is as absent.
func Load(lookup func(string) (string, bool)) (Config, error) {
	var c Config
	c.OTLPEndpoint, _ = lookup("OTEL_EXPORTER_OTLP_ENDPOINT")
	for _, v := range variables {
		if v.set == nil {
			continue
		}
		text, _ := lookup(prefix + v.name)
		if err := v.read(&c, text); err != nil {
			return Config{}, fmt.Errorf("%s%s %w", prefix, v.name, err)
		}
	}
	return c, nil
}

// read takes the text of the environment, or the default, into the struct. No error repeats the value of a url, a text or a hex: they
// may hold a secret. What other values hold is visible: an error is one line.
func (v variable) read(c *Config, text string) error {
	if text == "" && v.required {
		return fmt.Errorf("isn't set: it must be %s", v.bound())
	}
	if strings.ContainsFunc(text, invisible) {
		return fmt.Errorf("has a byte that isn't visible ASCII: it must be %s", v.bound())
	}
	if text == "" {
		switch v.defaultText {
		case defaultCores:
			return v.set(c, "", min(int64(runtime.GOMAXPROCS(0)), v.max))
		case default4xPermits:
			return v.set(c, "", hashQueuePerCores*c.HashPermits)
		}
		text = v.defaultText
	}
	switch v.kind {
	case "integer":
		number, err := strconv.ParseInt(text, 10, 64)
		if err != nil || number < v.min || number > v.max {
			return fmt.Errorf("is %q: it must be %s", text, v.bound())
		}
		return v.set(c, text, number)
	case "text", "hex":
		if length := int64(len(text)); length < v.min || length > v.max {
			return fmt.Errorf("has %d bytes: it must be %s", length, v.bound())
		}
	}
	if err := v.set(c, text, 0); err != nil {
		return fmt.Errorf("%w: it must be %s", err, v.bound())
	}
	return nil
}

func invisible(r rune) bool { return r < 0x21 || r > 0x7e }

func (v variable) bound() string {
	switch v.kind {
	case "integer":
		return fmt.Sprintf("an integer from %d to %d", v.min, v.max)
	case "text":
		return fmt.Sprintf("a text of %d to %d bytes, visible ASCII", v.min, v.max)
	case "hex":
		return fmt.Sprintf("%d hex digits", v.max)
	case "address":
		return "host:port"
	case "level":
		return "error, warn, info or debug"
	default:
		return v.form
	}
}

// Print writes every variable with its default and its bound.
func Print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VARIABLE\tDEFAULT\tBOUND\tABOUT")
	for _, v := range variables {
		def := v.defaultText
		if v.required {
			def = "(required)"
		} else if def == "" {
			def = "(empty)"
		}
		fmt.Fprintf(table, "%s%s\t%s\t%s\t%s\n", prefix, v.name, def, v.bound(), v.about)
	}
	return table.Flush()
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// errURL doesn't say what is wrong with a URL: the cause may quote the password.
var errURL = errors.New("can't be read")

func setDatabaseURL(c *Config, text string, _ int64) error {
	postgres := strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://")
	if _, err := pgxpool.ParseConfig(text); err != nil || !postgres {
		return errURL
	}
	c.DatabaseURL = text
	return nil
}

// setAcquirerURL takes http://host, http://host:port, and either with a slash behind.
func setAcquirerURL(c *Config, text string, _ int64) error {
	u, err := url.Parse(text)
	if err != nil {
		return errURL
	}
	host, port := u.Hostname(), u.Port()
	if bare := "http://" + u.Host; host == "" || text != bare && text != bare+"/" {
		return errURL // another scheme, a user, a path or a query
	}
	if port == "" && !strings.HasSuffix(u.Host, ":") {
		port = "80"
	}
	c.AcquirerAddr = net.JoinHostPort(host, port)
	if checkAddress(c.AcquirerAddr) != nil {
		return errURL
	}
	return nil
}

func checkAddress(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return fmt.Errorf("is %q", text)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("is %q", text)
	}
	return nil
}

func setKey(of func(*Config) *[32]byte) func(*Config, string, int64) error {
	return func(c *Config, text string, _ int64) error {
		if _, err := hex.Decode(of(c)[:], []byte(text)); err != nil {
			return errors.New("has a byte that isn't a hex digit")
		}
		return nil
	}
}

func setTargets(c *Config, text string, _ int64) error {
	c.WebhookTargets = domain.WebhookTargets(text)
	if c.WebhookTargets != domain.TargetsPublic && c.WebhookTargets != domain.TargetsAny {
		return fmt.Errorf("is %q", text)
	}
	return nil
}

func setLogLevel(c *Config, text string, _ int64) error {
	levels := map[string]slog.Level{"error": slog.LevelError, "warn": slog.LevelWarn, "info": slog.LevelInfo, "debug": slog.LevelDebug}
	level, ok := levels[text]
	if !ok {
		return fmt.Errorf("is %q", text)
	}
	c.LogLevel = level
	return nil
}
