package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/telemetry"
	"twinpay.dev/payments/internal/usecase"
)

// The limits of the door.
const (
	maxHeader            = 16 << 10
	maxConcurrentStreams = 100
	requestTimeout       = 10 * time.Second // for a request's head
	idleTimeout          = 75 * time.Second
)

// Door answers HTTP requests.
type Door struct {
	payments    *usecase.Payments
	auth        *usecase.Authenticator
	bodyTimeout time.Duration
	telemetry   *telemetry.Telemetry
	mux         *http.ServeMux
}

// New makes the door. bodyTimeout is how long a body may take after its head.
func New(payments *usecase.Payments, auth *usecase.Authenticator, bodyTimeout time.Duration, t *telemetry.Telemetry) *Door {
	d := &Door{payments: payments, auth: auth, bodyTimeout: bodyTimeout, telemetry: t, mux: http.NewServeMux()}
	endpoints := map[string]*endpoint{}
	for _, r := range d.routes() {
		e := endpoints[r.pattern]
		if e == nil {
			e = &endpoint{door: d, pattern: r.pattern, public: r.audience == public, methods: map[string]*route{}}
			endpoints[r.pattern] = e
			d.mux.Handle(r.pattern, e)
		}
		e.methods[r.method] = r
		e.allowed = append(e.allowed, r.method)
		slices.Sort(e.allowed)
	}
	d.mux.Handle("/", &endpoint{door: d})
	return d
}

// Server makes the server of the door, with all its limits.
func (d *Door) Server() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:                      d,
		Protocols:                    protocols,
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: maxConcurrentStreams},
		ReadHeaderTimeout:            requestTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true, // OPTIONS is a method like any other
		ErrorLog:                     slog.NewLogLogger(d.telemetry.Log.Handler(), slog.LevelDebug),
	}
}

// ServeHTTP keeps the router from paths that routers treat differently.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header()["Request-Id"] = []string{domain.FormatID(domain.PrefixRequest, domain.NewID())}
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		w.Header()["Cache-Control"] = []string{"no-store"}
	}
	if !plainPath(r) {
		(&endpoint{door: d}).ServeHTTP(w, r)
		return
	}
	d.mux.ServeHTTP(w, r)
}

// plainPath reports whether the path, as it was sent, has no empty segment, no dot segment and no percent escape.
func plainPath(r *http.Request) bool {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(path, "/") {
		path = r.URL.EscapedPath() // the target was a whole URL
	}
	if !strings.HasPrefix(path, "/") || strings.Contains(path, "%") {
		return false
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// audience is who may call a route.
type audience int

const (
	public audience = iota // without credential, span or deadline
	merchant
	admin
)

// route is a method of a path.
type route struct {
	method, pattern string
	audience        audience
	key             usecase.KeyRule
	handle          func(context.Context, *request) (response, error)
	parameters      []string // of the query
}

// endpoint is a path with its methods; without a pattern, every path that isn't one.
type endpoint struct {
	door    *Door
	pattern string
	public  bool // as all its methods are
	methods map[string]*route
	allowed []string // sorted
}

// ServeHTTP observes a request from its arrival to its last byte.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	route := e.methods[r.Method]
	if e.public {
		answer := e.methodNotAllowed()
		if route != nil {
			answer, _ = route.handle(r.Context(), nil)
		}
		write(w, answer)
		return
	}
	d := e.door
	name, attributes := e.describe(r.Method)
	ctx, span := d.telemetry.StartServer(r.Context(), r.Header.Get("Traceparent"), name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attributes...))
	aborted := false
	defer func() {
		if aborted {
			panic(http.ErrAbortHandler)
		}
	}()
	defer span.End() // before the abort, which it would record as an exception
	answer, err := e.answer(ctx, w, r, route, began)
	// The server takes a body that came too late for the client's going.
	if err != nil && errors.Is(r.Context().Err(), context.Canceled) && !errors.Is(err, os.ErrDeadlineExceeded) {
		d.telemetry.Log.DebugContext(ctx, "the client has gone", "method", r.Method, "route", e.pattern, "error", err)
		aborted = true // nobody is told anything, and nothing failed; an empty 200 must not go out either
		return
	}
	switch {
	case errors.Is(err, errMethodNotAllowed):
		answer = e.methodNotAllowed()
	case err != nil:
		answer = problem(err)
	}
	limitUnread(w, r)
	whole := true
	if answer.watch != nil {
		whole = d.stream(ctx, w, answer.watch)
	} else {
		write(w, answer)
	}

	attributes = append(attributes, telemetry.HTTPStatus.Int(answer.status))
	if answer.status >= http.StatusInternalServerError {
		telemetry.Fail(span, answer.reason)
		attributes = append(attributes, telemetry.ErrorType.String(answer.reason))
	}
	if span.IsRecording() {
		span.SetAttributes(telemetry.HTTPStatus.Int(answer.status))
		if answer.reason != "" {
			span.SetAttributes(telemetry.Reason.String(answer.reason))
		}
	}
	took := time.Since(began)
	d.telemetry.HTTPDuration.Record(ctx, took.Seconds(), metric.WithAttributeSet(attribute.NewSet(attributes...)))
	e.log(ctx, r.Method, answer, err, took)
	aborted = !whole // or the end would look like that of a whole body
}

func (e *endpoint) methodNotAllowed() response {
	answer := problem(errMethodNotAllowed)
	answer.header = map[string]string{"Allow": strings.Join(e.allowed, ", ")}
	return answer
}

// describe is the span's name and what it and the metrics are told of the request before it is answered.
func (e *endpoint) describe(method string) (string, []attribute.KeyValue) {
	name := method
	if !slices.Contains(knownMethods, method) {
		name, method = "HTTP", "_OTHER" // as the semantic conventions say, so that clients can't make up names
	}
	attributes := make([]attribute.KeyValue, 0, 4)
	attributes = append(attributes, telemetry.HTTPMethod.String(method))
	if e.pattern == "" {
		return name, attributes
	}
	return name + " " + e.pattern, append(attributes, telemetry.HTTPRoute.String(e.pattern))
}

var knownMethods = []string{
	http.MethodConnect, http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPatch, http.MethodPost, http.MethodPut,
	http.MethodTrace,
}

// log says what failed here, once; what a client did wrong is its own business.
func (e *endpoint) log(ctx context.Context, method string, answer response, err error, took time.Duration) {
	t := e.door.telemetry
	if answer.status >= http.StatusInternalServerError {
		level := slog.LevelError
		if answer.reason == string(domain.ReasonOverloaded) {
			level = slog.LevelWarn // shed, as it should be
		}
		t.Log.LogAttrs(ctx, level, "request failed", slog.String("method", method), telemetry.Route(e.pattern),
			slog.Int("status", answer.status), slog.String("reason", answer.reason), telemetry.Cause(err))
	}
	if t.Log.Enabled(ctx, slog.LevelDebug) {
		t.Log.LogAttrs(ctx, slog.LevelDebug, "request", slog.String("method", method), telemetry.Route(e.pattern), slog.Int("status", answer.status),
			slog.Float64("duration_ms", telemetry.Milliseconds(took)))
	}
}

var errMethodNotAllowed = domain.NewError(domain.ReasonMethodNotAllowed)

// answer does the checks in the order of the contract, then what the route does.
func (e *endpoint) answer(ctx context.Context, w http.ResponseWriter, r *http.Request, route *route, began time.Time) (answer response, err error) {
	defer func() {
		if p := recover(); p != nil {
			answer, err = response{}, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	switch {
	case e.pattern == "":
		return response{}, domain.NewError(domain.ReasonRouteNotFound)
	case route == nil:
		return response{}, errMethodNotAllowed
	}
	hasBody := route.method == http.MethodPost
	if hasBody && !isJSON(r.Header["Content-Type"]) {
		return response{}, domain.NewError(domain.ReasonUnsupportedMediaType)
	}
	if hasBody && r.ContentLength > maxBody {
		return response{}, domain.NewError(domain.ReasonPayloadTooLarge)
	}
	timeout, timeoutErr := usecase.ParseTimeout(r.Header[usecase.TimeoutHeader])
	ctx, cancel := context.WithDeadline(ctx, began.Add(timeout))
	defer cancel()
	role := usecase.RoleMerchant
	if route.audience == admin {
		role = usecase.RoleAdmin
	}
	merchantID, err := e.door.auth.Authenticate(ctx, role, r.Header["Authorization"])
	if err != nil {
		return response{}, err
	}
	if timeoutErr != nil {
		return response{}, timeoutErr
	}
	key, err := usecase.ParseKey(route.key, r.Header[usecase.KeyHeader])
	if err != nil {
		return response{}, err
	}
	query, violations := parseQuery(r.URL.RawQuery, route.parameters)
	request := request{call: usecase.Call{MerchantID: merchantID, Key: key, Violations: violations}, path: r.PathValue, query: query, header: r.Header}
	if hasBody {
		if request.body, err = readBody(ctx, w, r, began.Add(e.door.bodyTimeout)); err != nil {
			return response{}, err
		}
	}
	return route.handle(ctx, &request)
}

func isJSON(contentType []string) bool {
	if len(contentType) != 1 {
		return false
	}
	mediaType, _, _ := strings.Cut(contentType[0], ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), "application/json")
}

// write sends a response whole, so that its length is known.
func write(w http.ResponseWriter, r response) {
	header := w.Header()
	if r.status != http.StatusNoContent {
		header["Content-Type"] = []string{"application/json"}
		header["Content-Length"] = []string{strconv.Itoa(len(r.body))}
	}
	if r.status >= http.StatusBadRequest {
		header["Content-Type"] = []string{"application/problem+json"}
	}
	if r.replayed {
		header["Idempotency-Replayed"] = []string{"true"}
	}
	for name, value := range r.header {
		header.Set(name, value)
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // the client has gone, or it hasn't: there is nobody else to tell
}
