package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"twinpay.dev/payments/internal/domain"
)

const (
	maxBody   = 64 << 10
	drainTime = 50 * time.Millisecond // for the rest of a body that is left unread
)

// readBody reads a body that must arrive before late and before the request's deadline. Its declared length is within the limit.
func readBody(ctx context.Context, w http.ResponseWriter, r *http.Request, late time.Time) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	control := http.NewResponseController(w)
	until, reason := late, domain.ReasonRequestTimeout
	if deadline, _ := ctx.Deadline(); deadline.Before(late) {
		until, reason = deadline, domain.ReasonDeadlineExceeded
	}
	if err := control.SetReadDeadline(until); err != nil {
		return nil, err
	}
	size := r.ContentLength
	if size < 0 {
		size = maxBody + 1 // where more comes, the reader fails
	}
	buffer := make([]byte, size)
	read, err := fill(http.MaxBytesReader(w, r.Body, maxBody), buffer)
	if err == nil {
		err = control.SetReadDeadline(time.Time{})
	}
	if err == nil {
		r.Body = http.NoBody // read whole
		return buffer[:read], nil
	}
	clear(buffer)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, domain.NewError(domain.ReasonPayloadTooLarge)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, domain.Because(reason, err)
	}
	return nil, domain.Because(domain.ReasonMalformedBody, err) // cut short: the client has gone
}

// fill reads to the end of the body or of the buffer. The buffer is the only one: it may hold a card, and a buffer that grows leaves copies.
func fill(body io.Reader, buffer []byte) (int, error) {
	for read := 0; ; {
		n, err := body.Read(buffer[read:])
		read += n
		switch {
		case errors.Is(err, io.EOF):
			return read, nil
		case err != nil || read == len(buffer):
			return read, err
		}
	}
}

// limitUnread bounds what the server does by itself before it answers, so that a refusal doesn't cost the client its connection: it reads
// what was left of the body. What is there already, not what may never come. There is no bound where nothing is left: the server then
// watches for the client's going, and would take our deadline for that.
func limitUnread(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 && r.Body != http.NoBody {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(drainTime)) // if it fails, so will the read
	}
}
