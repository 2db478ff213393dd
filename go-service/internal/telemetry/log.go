package telemetry

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"twinpay.dev/payments/internal/domain"
)

// newLogger writes JSON lines with the field names that both twins have.
func newLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(traceHandler{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: rename})})
}

// Route is a log line's route; left out where there is none.
func Route(route string) slog.Attr {
	if route == "" {
		return slog.Attr{}
	}
	return slog.String("route", route)
}

// Cause is a log line's error; left out where the reason says it all.
func Cause(err error) slog.Attr {
	var failure *domain.Error
	if err == nil || errors.As(err, &failure) && (failure.Cause == nil || failure.Reason == domain.ReasonDeadlineExceeded) {
		return slog.Attr{}
	}
	return slog.Any("error", err)
}

func rename(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.TimeKey:
		return slog.String("timestamp", a.Value.Time().UTC().Format("2006-01-02T15:04:05.000000Z"))
	case slog.LevelKey:
		return slog.String("level", strings.ToLower(a.Value.String()))
	case slog.MessageKey:
		a.Key = "message"
	}
	return a
}

// traceHandler adds the ids of the context's span to each line.
type traceHandler struct{ slog.Handler }

func (h traceHandler) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return traceHandler{h.Handler.WithAttrs(attrs)}
}

func (h traceHandler) WithGroup(name string) slog.Handler {
	return traceHandler{h.Handler.WithGroup(name)}
}
