package store

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// Published is what a look into the outbox came to.
type Published struct {
	Leader bool       // false where another one holds the lease, and where there was nothing to do
	Events int64      // so many have their sequence
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
	return Published{Leader: row.Leader, Events: row.Published, Oldest: row.OldestCreatedAt}, err
}
