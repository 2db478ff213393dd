// Package telemetry owns logs, traces and metrics and all their names. It never blocks or fails a request: what can't be exported is
// dropped and counted. Spans are set by hand and by these functions alone, so that both twins show the same trees.
package telemetry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"twinpay.dev/payments/internal/domain"
)

// serviceName and scope name this process in all that it exports.
const (
	serviceName = "payments-go"
	scope       = "payments"
)

// TraceparentHeader is the W3C header's name, over HTTP and as gRPC metadata.
const TraceparentHeader = "traceparent"

// The attributes of spans and metrics.
const (
	HTTPMethod   = attribute.Key("http.request.method")
	HTTPRoute    = attribute.Key("http.route")
	HTTPStatus   = attribute.Key("http.response.status_code")
	RPCSystem    = attribute.Key("rpc.system.name")
	RPCMethod    = attribute.Key("rpc.method")
	RPCStatus    = attribute.Key("rpc.response.status_code")
	DBSystem     = attribute.Key("db.system.name")
	DBSummary    = attribute.Key("db.query.summary")
	ErrorType    = attribute.Key("error.type")
	Reason       = attribute.Key("twinpay.reason")
	DBWait       = attribute.Key("twinpay.db_wait_ms")
	Wait         = attribute.Key("twinpay.wait_ms")
	Operation    = attribute.Key("twinpay.operation")
	Pool         = attribute.Key("pool")
	FullURL      = attribute.Key("url.full")
	ServerHost   = attribute.Key("server.address")
	ServerPort   = attribute.Key("server.port")
	AttemptCount = attribute.Key("twinpay.attempt")
	RejectReason = attribute.Key("reason")
)

// durationBuckets are in seconds: from a cached read to the longest deadline that is usual.
var durationBuckets = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// Telemetry makes spans and holds the instruments.
type Telemetry struct {
	Log *slog.Logger

	HTTPDuration      metric.Float64Histogram
	RPCDuration       metric.Float64Histogram
	DBDuration        metric.Float64Histogram
	HashWait          metric.Float64Histogram
	HashRun           metric.Float64Histogram
	HashQueue         metric.Int64UpDownCounter
	Rejected          metric.Int64Counter
	DBPoolWait        metric.Float64Histogram
	OperationsPending metric.Int64UpDownCounter
	OutboxLag         metric.Float64Gauge
	WebhookAttempts   metric.Int64Counter

	meter     metric.Meter
	poolInUse metric.Int64ObservableGauge
	tracer    trace.Tracer
	exporting bool
	drops     drops
	registry  *prometheus.Registry
	stop      []func(context.Context) error
}

// New makes the telemetry of one process. Spans are exported only where an OTLP endpoint is given.
func New(ctx context.Context, otlpEndpoint string, level slog.Leveler, logs io.Writer) (*Telemetry, error) {
	t := &Telemetry{Log: newLogger(logs, level), registry: prometheus.NewRegistry(), tracer: noop.NewTracerProvider().Tracer(scope)}
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(t.registry), otelprometheus.WithoutScopeInfo(),
		otelprometheus.WithProducer(runtimeHistograms{since: time.Now()}))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	named, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithFromEnv(), resource.WithAttributes(attribute.String("service.name", serviceName)))
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter), sdkmetric.WithResource(named))
	t.stop = append(t.stop, meters.Shutdown)
	meter := meters.Meter(scope)
	if err := errors.Join(t.makeInstruments(meter), observeRuntime(meter)); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	if otlpEndpoint == "" {
		return t, nil
	}
	spans, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(otlpEndpoint))
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	// What doesn't fit into the queue is dropped; it never makes a request wait.
	traces := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(t.drops.batches(spans)), sdktrace.WithResource(named))
	t.tracer, t.exporting, t.stop = traces.Tracer(scope), true, append(t.stop, traces.Shutdown)
	return t, nil
}

func (t *Telemetry) makeInstruments(m metric.Meter) error {
	histograms := []struct {
		to          *metric.Float64Histogram
		name, about string
	}{
		{&t.HTTPDuration, "http.server.request.duration", "Duration of HTTP requests."},
		{&t.RPCDuration, "rpc.server.call.duration", "Duration of gRPC calls."},
		{&t.DBDuration, "db.client.operation.duration", "Duration of statements, without the wait for a connection."},
		{&t.HashWait, "twinpay.hash_pool.wait.duration", "How long hashes waited for a permit."},
		{&t.HashRun, "twinpay.hash_pool.run.duration", "How long hashes ran."},
		{&t.DBPoolWait, "twinpay.db_pool.wait", "How long statements waited for a connection."},
	}
	for _, h := range histograms {
		var err error
		*h.to, err = m.Float64Histogram(h.name, metric.WithDescription(h.about), metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(durationBuckets...))
		if err != nil {
			return err
		}
	}
	counters := []struct {
		to          *metric.Int64UpDownCounter
		name, about string
	}{
		{&t.HashQueue, "twinpay.hash_pool.queue", "Hashes that wait for a permit."},
		{&t.OperationsPending, "twinpay.operations.pending", "Operations that this process has claimed or leased and not yet settled."},
	}
	for _, c := range counters {
		var err error
		if *c.to, err = m.Int64UpDownCounter(c.name, metric.WithDescription(c.about)); err != nil {
			return err
		}
	}
	var err error
	t.meter = m
	t.poolInUse, err = m.Int64ObservableGauge("twinpay.db_pool.in_use", metric.WithDescription("Connections that are taken out of the pool."))
	if err != nil {
		return err
	}
	t.Rejected, err = m.Int64Counter("twinpay.admission.rejected", metric.WithDescription("Requests that were shed, by what was full."))
	if err != nil {
		return err
	}
	t.OutboxLag, err = m.Float64Gauge("twinpay.outbox.lag", metric.WithUnit("s"),
		metric.WithDescription("How long the oldest event of the last batch waited for its publication."))
	if err != nil {
		return err
	}
	t.WebhookAttempts, err = m.Int64Counter("twinpay.webhook.attempts", metric.WithDescription("Attempts to deliver a webhook, by what came of them."))
	if err != nil {
		return err
	}
	_, err = m.Int64ObservableCounter("twinpay.telemetry.dropped_spans",
		metric.WithDescription("Spans that were dropped: the queue was full, or the export failed."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(t.drops.dropped.Load())
			return nil
		}))
	return err
}

// ObservePool has the metrics ask how many connections of a pool are in use.
func (t *Telemetry) ObservePool(pool string, inUse func() int64) error {
	named := metric.WithAttributeSet(attribute.NewSet(Pool.String(pool)))
	_, err := t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(t.poolInUse, inUse(), named)
		return nil
	}, t.poolInUse)
	return err
}

// MetricsHandler serves the metrics to Prometheus.
func (t *Telemetry) MetricsHandler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{})
}

// Shutdown exports what is left, for as long as the context allows.
func (t *Telemetry) Shutdown(ctx context.Context) {
	for _, stop := range t.stop {
		if err := stop(ctx); err != nil {
			t.Log.WarnContext(ctx, "telemetry not flushed", "error", err)
		}
	}
}

// Reject counts a request that was shed, by what was full: hash_queue, hash_wait, database_wait, rate_limit.
func (t *Telemetry) Reject(ctx context.Context, reason string) {
	t.Rejected.Add(ctx, 1, metric.WithAttributes(RejectReason.String(reason)))
}

// StartServer starts a door's span under the caller's traceparent. Where nothing is exported the context keeps the caller's, for the
// logs, for those whom we call and for what is stored.
func (t *Telemetry) StartServer(ctx context.Context, traceparent, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	if traceparent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, carrier(traceparent))
	}
	if t.exporting {
		return t.tracer.Start(ctx, name, options...)
	}
	return ctx, trace.SpanFromContext(ctx)
}

// Start starts a span below the context's.
func (t *Telemetry) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	return t.tracer.Start(ctx, name, options...)
}

// StartWebhook starts the span of one attempt at a webhook, linked to the trace of the request that its event comes from.
func (t *Telemetry) StartWebhook(ctx context.Context, traceparent string, target domain.Target, attempt int16) (context.Context, trace.Span) {
	return t.startLinked(ctx, traceparent, "webhook.deliver", trace.SpanKindClient, HTTPMethod.String(http.MethodPost), FullURL.String(target.Shown),
		ServerHost.String(target.Host), ServerPort.Int(int(target.Port)), AttemptCount.Int(int(attempt)))
}

// StartLinked starts a root span that is linked to the trace of a stored traceparent. The trace is its own also where nothing is exported: a
// card network that decides by the trace's id would decide the same at each ask.
func (t *Telemetry) StartLinked(ctx context.Context, traceparent, name string, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	return t.startLinked(ctx, traceparent, name, trace.SpanKindInternal, attributes...)
}

func (t *Telemetry) startLinked(ctx context.Context, traceparent, name string, kind trace.SpanKind, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	if !t.exporting {
		ctx = trace.ContextWithRemoteSpanContext(ctx, unsampled())
		return ctx, trace.SpanFromContext(ctx)
	}
	stored := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier(traceparent)))
	options := []trace.SpanStartOption{trace.WithNewRoot(), trace.WithSpanKind(kind), trace.WithAttributes(attributes...)}
	if stored.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: stored}))
	}
	return t.tracer.Start(ctx, name, options...)
}

// unsampled is a new trace that nobody samples.
func unsampled() trace.SpanContext {
	var c trace.SpanContextConfig
	_, _ = rand.Read(c.TraceID[:]) // never fails
	_, _ = rand.Read(c.SpanID[:])
	return trace.NewSpanContext(c)
}

// Fail marks a span as failed. The type is a reason or the name of a status, never an error's text.
func Fail(span trace.Span, errorType string) {
	span.SetStatus(codes.Error, "")
	span.SetAttributes(ErrorType.String(errorType))
}

// Traceparent is the W3C header of the context's span; empty where there is none.
func Traceparent(ctx context.Context) string {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return ""
	}
	return "00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + "-" + sc.TraceFlags().String()
}

// carrier hands one traceparent to the propagator; tracestate isn't kept, since an operation stores the traceparent alone.
type carrier string

func (c carrier) Get(key string) string {
	if key == TraceparentHeader {
		return string(c)
	}
	return ""
}

func (carrier) Set(string, string) {}

func (carrier) Keys() []string { return []string{TraceparentHeader} }

// Milliseconds is the unit of the waits that spans show.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
