package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"twinpay.dev/payments/internal/domain"
)

// Published is what a look into the outbox came to.
type Published struct {
	Events int64      // so many have their sequence: none also where another one leads
	Oldest *time.Time // when the oldest of them happened
}

type publishEventsRow struct {
	Leader          bool
	Published       int64
	Merchants       int64
	OldestCreatedAt *time.Time
}

var publishEvents = newStatement[publishEventsRow]("publish_events", writes|unseen)

// PublishEvents moves up to limit events into the log, if the lease is the holder's or free.
func (d *DB) PublishEvents(ctx context.Context, holder uuid.UUID, now, leasedUntil time.Time, limit int64) (Published, error) {
	row, found, err := publishEvents.one(ctx, d, holder, now, leasedUntil, limit)
	row, err = always(publishEvents.name, row, found, err)
	return Published{Events: row.Published, Oldest: row.OldestCreatedAt}, err
}

type eventRow struct {
	ID        uuid.UUID
	Type      string
	Sequence  int64
	CreatedAt time.Time
	Data      []byte
}

func (row *eventRow) event() domain.Event {
	return domain.Event{ID: row.ID, Type: row.Type, Sequence: row.Sequence, CreatedAt: row.CreatedAt, Object: row.Data}
}

var (
	listEvents      = newStatement[eventRow]("list_events", opens)
	listEventsAfter = newStatement[eventRow]("list_events_after", opens|unseen)
)

// ListEvents reads up to limit of a merchant's events before a sequence, newest first; nil: from the newest, of any type.
func (d *DB) ListEvents(ctx context.Context, merchantID uuid.UUID, before *int64, kind *domain.EventType, limit int) ([]domain.Event, error) {
	rows, err := listEvents.all(ctx, d, merchantID, before, (*string)(kind), int64(limit))
	return convert(rows, (*eventRow).event), err
}

// ListEventsAfter answers up to limit events that follow a sequence.
func (d *DB) ListEventsAfter(ctx context.Context, merchantID uuid.UUID, after, limit int64) ([]domain.Event, error) {
	rows, err := listEventsAfter.all(ctx, d, merchantID, after, limit)
	return convert(rows, (*eventRow).event), err
}

type getLastSequenceRow struct{ Last int64 }

var getLastSequence = newStatement[getLastSequenceRow]("get_last_sequence", opens)

// GetLastSequence answers the sequence of the newest event, 0 where there is none yet.
func (d *DB) GetLastSequence(ctx context.Context, merchantID uuid.UUID) (int64, error) {
	row, found, err := getLastSequence.one(ctx, d, merchantID)
	row, err = always(getLastSequence.name, row, found, err)
	return row.Last, err
}

// ListenForEvents hears, on a connection of its own, of merchants with new events, until the connection is lost or the context ends. What
// was published before it calls listening, it doesn't tell.
func ListenForEvents(ctx context.Context, url string, listening func(), published func(merchantID uuid.UUID)) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return err
	}
	config.ConnectTimeout = connectTimeout
	config.RuntimeParams["application_name"] = "payments"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		_ = conn.Close(closing) // of no use any more
	}()
	if _, err := conn.Exec(ctx, "listen events_published"); err != nil {
		return err
	}
	listening()
	for {
		notice, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		merchantID, err := uuid.Parse(notice.Payload)
		if err != nil {
			return err
		}
		published(merchantID)
	}
}
