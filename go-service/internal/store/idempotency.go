package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
)

// Key is an idempotency key with the request that it is used for. The scope of an administrator's keys is the nil merchant.
type Key struct {
	MerchantID  uuid.UUID
	Key         string
	RequestHash []byte
}

// Stored is a reply as it is kept under a key.
type Stored struct {
	Status int
	Body   []byte
}

// Outcome is what a statement that takes a key says about it; the comments on top of the statements tell which one says what.
type Outcome string

// The outcomes.
const (
	Claimed      Outcome = "claimed"
	Created      Outcome = "created"
	Replay       Outcome = "replay"
	KeyReused    Outcome = "key_reused"
	InProgress   Outcome = "in_progress"
	NotFound     Outcome = "not_found"
	Busy         Outcome = "busy"
	StateInvalid Outcome = "state_invalid"
	LookAgain    Outcome = "look_again"
)

// Claim is the answer of a statement that takes a key.
type Claim struct {
	Outcome   Outcome
	Reply     Stored              // Replay
	State     domain.PaymentState // StateInvalid
	Operation Operation           // Claimed
}

// outcomeRow has what all these statements answer; columns of a left join and expressions are pointers.
type outcomeRow struct {
	Outcome     Outcome
	ReplyStatus *int16
	ReplyBody   []byte
}

func (r outcomeRow) claim() Claim {
	claim := Claim{Outcome: r.Outcome}
	if r.ReplyStatus != nil {
		claim.Reply = Stored{int(*r.ReplyStatus), r.ReplyBody}
	}
	return claim
}

type findReplayRow struct {
	SameRequest bool
	OperationID uuid.UUID
	ReplyStatus *int16
	ReplyBody   []byte
}

var (
	findReplay = newStatement[findReplayRow]("find_replay", opens)
	pollReplay = newStatement[findReplayRow]("find_replay", 0)
)

// FindReplay says what a key answers now: Replay, KeyReused or InProgress, or NotFound for a key that is free.
func (d *DB) FindReplay(ctx context.Context, key Key) (Claim, error) {
	return d.replay(ctx, findReplay, key)
}

// PollReplay is FindReplay in a request that has begun its work: it isn't shed.
func (d *DB) PollReplay(ctx context.Context, key Key) (Claim, error) {
	return d.replay(ctx, pollReplay, key)
}

func (d *DB) replay(ctx context.Context, s *statement[findReplayRow], key Key) (Claim, error) {
	row, found, err := s.one(ctx, d, key.MerchantID, key.Key, key.RequestHash)
	switch {
	case err != nil:
		return Claim{}, err
	case !found:
		return Claim{Outcome: NotFound}, nil
	case !row.SameRequest:
		return Claim{Outcome: KeyReused}, nil
	case row.ReplyStatus == nil:
		return Claim{Outcome: InProgress}, nil
	}
	return Claim{Outcome: Replay, Reply: Stored{int(*row.ReplyStatus), row.ReplyBody}}, nil
}

// always is for statements whose comment promises a row.
func always[T any](name string, row T, found bool, err error) (T, error) {
	if err == nil && !found {
		err = fmt.Errorf("%s answered no row", name)
	}
	return row, err
}
