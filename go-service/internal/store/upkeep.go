package store

import (
	"context"
	"time"
)

var (
	rollUpBalances       = newStatement[journalsRow]("roll_up_balances", writes|unseen)
	sweepIdempotencyKeys = newStatement[keysRow]("sweep_idempotency_keys", writes|unseen)
)

type (
	journalsRow struct{ Journals int64 }
	keysRow     struct{ Keys int64 }
)

// RollUpBalances folds up to limit journals into the balances and answers how many it were.
func (d *DB) RollUpBalances(ctx context.Context, limit int) (int, error) {
	row, found, err := rollUpBalances.one(ctx, d, limit)
	row, err = always(rollUpBalances.name, row, found, err)
	return int(row.Journals), err
}

// SweepIdempotencyKeys forgets up to limit finished keys that are older than createdBefore and answers how many it were.
func (d *DB) SweepIdempotencyKeys(ctx context.Context, createdBefore time.Time, limit int) (int, error) {
	row, found, err := sweepIdempotencyKeys.one(ctx, d, createdBefore, limit)
	row, err = always(sweepIdempotencyKeys.name, row, found, err)
	return int(row.Keys), err
}
