package usecase

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
)

const (
	streamBatch = 100             // events of one look
	maxSequence = 999_999_999_999 // the largest that a stream can be resumed after: no merchant gets there
)

// ErrDraining ends a stream when the service drains.
var ErrDraining = errors.New("the service is draining")

// Streams are the streams of this process. A notice of Postgres wakes them; a lost one costs at most a heartbeat's time.
type Streams struct {
	Heartbeat time.Duration // the silence after which a stream sends one
	Write     time.Duration // how long a consumer may leave a message unread

	places   chan struct{}
	draining chan struct{}
	drain    sync.Once
	mu       sync.Mutex
	open     map[uuid.UUID]map[*Watch]struct{} // by merchant
}

// NewStreams allows so many at once.
func NewStreams(most int, heartbeat, write time.Duration) *Streams {
	return &Streams{
		Heartbeat: heartbeat, Write: write, places: make(chan struct{}, most), draining: make(chan struct{}), open: map[uuid.UUID]map[*Watch]struct{}{},
	}
}

// Wake has a merchant's streams look for events.
func (s *Streams) Wake(merchantID uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for watch := range s.open[merchantID] {
		watch.wake()
	}
}

// WakeAll has all streams look: something may have been missed.
func (s *Streams) WakeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, watches := range s.open {
		for watch := range watches {
			watch.wake()
		}
	}
}

// Drain ends all streams, also those to come.
func (s *Streams) Drain() { s.drain.Do(func() { close(s.draining) }) }

// ListEvents asks for a page of events. Members are as the client sent them; nil: absent.
type ListEvents struct {
	Page Page
	Type *string
}

// ListEvents reads a page of the merchant's published events.
func (p *Payments) ListEvents(ctx context.Context, call Call, c ListEvents) (List[domain.Event], error) {
	check := checker{call.Violations}
	size := c.Page.size(&check)
	kind := (*domain.EventType)(c.Type)
	if kind != nil && !kind.Known() {
		check.add("type", domain.UnknownValue)
	}
	if err := check.err(); err != nil {
		return List[domain.Event]{}, err
	}
	filter := newFilter("list_events", call.MerchantID).text("type", c.Type)
	after, err := c.Page.afterSequence(filter)
	if err != nil {
		return List[domain.Event]{}, err
	}
	rows, err := p.DB.ListEvents(ctx, call.MerchantID, after, kind, size+1)
	return newList(rows, size, filter, func(e *domain.Event) uuid.UUID { return ofSequence(e.Sequence) }), err
}

// WatchEvents is what was sent.
type WatchEvents struct {
	Field         string // what the door calls it
	AfterSequence *int64 // nil: from now on
}

// Watch is a stream of a merchant's events.
type Watch struct {
	payments   *Payments
	merchantID uuid.UUID
	after      int64
	woken      chan struct{}
	silence    *time.Timer
	begun      bool
	unread     bool // there may be events after after
}

// WatchEvents opens a stream, which must be closed.
func (p *Payments) WatchEvents(ctx context.Context, call Call, command WatchEvents) (*Watch, error) {
	check := checker{call.Violations}
	after := check.integerOr(command.Field, command.AfterSequence, 0, 0, maxSequence)
	if err := check.err(); err != nil {
		return nil, err
	}
	s := p.Streams
	select {
	case s.places <- struct{}{}:
	default:
		p.Telemetry.Reject(ctx, "streams")
		return nil, domain.NewError(domain.ReasonOverloaded)
	}
	w := &Watch{
		payments: p, merchantID: call.MerchantID, after: after, woken: make(chan struct{}, 1), silence: time.NewTimer(s.Heartbeat), unread: true,
	}
	s.mu.Lock()
	if s.open[w.merchantID] == nil {
		s.open[w.merchantID] = map[*Watch]struct{}{}
	}
	s.open[w.merchantID][w] = struct{}{}
	s.mu.Unlock()
	if command.AfterSequence != nil {
		return w, nil
	}
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	var err error
	if w.after, err = p.DB.GetLastSequence(ctx, w.merchantID); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// Close gives the stream's place back.
func (w *Watch) Close() {
	s := w.payments.Streams
	w.silence.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open[w.merchantID], w)
	if len(s.open[w.merchantID]) == 0 {
		delete(s.open, w.merchantID)
	}
	<-s.places
}

func (w *Watch) wake() {
	select {
	case w.woken <- struct{}{}:
	default: // it will look anyway
	}
}

// Next waits for the next events, in order and with none missing, or answers none: a heartbeat, which is the first item.
func (w *Watch) Next(ctx context.Context) ([]domain.Event, error) {
	s := w.payments.Streams
	if !w.begun {
		w.begun = true
		return nil, nil
	}
	for {
		if w.unread {
			events, err := w.read(ctx)
			if err != nil {
				return nil, err
			}
			w.unread = len(events) == streamBatch
			if len(events) > 0 {
				w.after = events[len(events)-1].Sequence
				w.silence.Reset(s.Heartbeat)
				return events, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.draining:
			return nil, ErrDraining
		case <-w.woken:
			w.unread = true
		case <-w.silence.C:
			w.unread = true
			w.silence.Reset(s.Heartbeat)
			return nil, nil
		}
	}
}

func (w *Watch) read(ctx context.Context) ([]domain.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	return w.payments.DB.ListEventsAfter(ctx, w.merchantID, w.after, streamBatch)
}
