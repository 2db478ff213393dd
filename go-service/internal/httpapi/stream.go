package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/reply"
	"twinpay.dev/payments/internal/usecase"
)

// stream writes server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) until the service drains. It reports
// false where the stream was cut off: a consumer doesn't read or has gone, or events can't be read.
func (d *Door) stream(ctx context.Context, w http.ResponseWriter, watch *usecase.Watch) bool {
	defer watch.Close()
	w.Header()["Content-Type"] = []string{"text/event-stream"}
	control := http.NewResponseController(w)
	for {
		events, err := watch.Next(ctx)
		switch {
		case errors.Is(err, usecase.ErrDraining):
			return control.SetWriteDeadline(time.Time{}) == nil
		case ctx.Err() != nil:
			return false
		case err != nil:
			d.telemetry.Log.LogAttrs(ctx, slog.LevelWarn, "a stream of events was cut off", slog.Any("error", err))
			return false
		}
		if control.SetWriteDeadline(time.Now().Add(d.payments.Streams.Write)) != nil {
			return false
		}
		if _, err := w.Write(appendItem(nil, events)); err != nil || control.Flush() != nil {
			return false
		}
	}
}

// appendItem renders events, or a heartbeat where there are none.
func appendItem(dst []byte, events []domain.Event) []byte {
	if len(events) == 0 {
		return append(dst, ": heartbeat\n\n"...)
	}
	for i := range events {
		event := &events[i]
		dst = strconv.AppendInt(append(dst, "id: "...), event.Sequence, 10)
		dst = append(append(dst, "\nevent: "...), event.Type...)
		dst = append(append(append(dst, "\ndata: "...), reply.Event(event)...), "\n\n"...)
	}
	return dst
}

// watchEventsParameters are those of GET /v1/events/stream.
var watchEventsParameters = []string{"after_sequence"}

// lastEventID is the sequence after which a stream resumes, as browsers send it; one that isn't a number is a violation.
func (r *request) lastEventID() *int64 {
	values := r.header["Last-Event-Id"]
	if len(values) == 0 {
		return nil
	}
	number, err := strconv.ParseUint(values[0], 10, 63)
	if err != nil || len(values) > 1 {
		r.call.Violations = append(r.call.Violations, domain.Violation{Field: "last_event_id", Reason: domain.Malformed})
		return nil
	}
	sequence := int64(number)
	return &sequence
}
