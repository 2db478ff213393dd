// Package admin is the door for operators: health, version, metrics, profiles. It is not for the public, and nothing behind it may change anything.
package admin

import (
	"net/http"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Commit is set by the linker: -X twinpay.dev/payments/internal/admin.Commit=…
var Commit = "unknown"

// profile tells a build that is fit to be measured from one with the race detector, and one that was optimised by a profile from both.
func profile() string {
	info, _ := debug.ReadBuildInfo()
	kind := "release"
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "-race" && setting.Value == "true":
			return "race"
		case setting.Key == "-pgo" && setting.Value != "":
			kind = "tuned"
		}
	}
	return kind
}

// Readiness says whether the service should get requests.
type Readiness struct {
	schemaSeen atomic.Bool
	draining   chan struct{} // closed when it begins
}

// NewReadiness makes that of a service that isn't ready yet.
func NewReadiness() *Readiness { return &Readiness{draining: make(chan struct{})} }

// SchemaSeen is said once the schema was seen with the right version; a later outage of Postgres doesn't take it back.
func (r *Readiness) SchemaSeen() { r.schemaSeen.Store(true) }

// Draining is said once, when the service is about to end.
func (r *Readiness) Draining() { close(r.draining) }

// Reasons are why the service isn't ready; none where it is.
func (r *Readiness) Reasons() []string {
	var reasons []string
	if !r.schemaSeen.Load() {
		reasons = append(reasons, "schema_unseen")
	}
	select {
	case <-r.draining:
		reasons = append(reasons, "draining")
	default:
	}
	return reasons
}

// Server makes the admin door's server.
func Server(readiness *Readiness, metrics http.Handler) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, `{"status":"live"}`)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		reasons := readiness.Reasons()
		if len(reasons) == 0 {
			write(w, http.StatusOK, `{"status":"ready"}`)
			return
		}
		body := `{"status":"unready","reasons":[`
		for i, reason := range reasons {
			if i > 0 {
				body += ","
			}
			body += quote(reason)
		}
		write(w, http.StatusServiceUnavailable, body+`]}`)
	})
	version := `{"implementation":"go","commit":` + quote(Commit) + `,"profile":` + quote(profile()) + `}`
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, version) })
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /debug/pprof/profile", cpuProfile(readiness.draining))
	mux.HandleFunc("GET /debug/pprof/heap", heapProfile)
	return &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 75 * time.Second}
}

func quote(text string) string {
	quoted, _ := jsontext.AppendQuote(nil, text) // what isn't UTF-8 is replaced
	return string(quoted)
}

func write(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the asker has gone, or it hasn't
}
