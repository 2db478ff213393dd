package usecase

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
)

// Page says which page of a list, newest first, is asked for. Members are as the client sent them; nil: absent.
type Page struct {
	Field  string // what the door calls the size
	Size   *int64
	Cursor *string // from the page before; an empty one is as absent
}

const (
	maxPageSize     = 100
	defaultPageSize = 10
)

// size is how many objects a page has at most.
func (p Page) size(check *checker) int {
	return int(check.integerOr(p.Field, p.Size, defaultPageSize, 1, maxPageSize))
}

// after is the position after which the page begins; nil: with the newest.
func (p Page) after(f filter) (*uuid.UUID, error) {
	if p.Cursor == nil || *p.Cursor == "" {
		return nil, nil
	}
	position, ok := f.position(*p.Cursor)
	if !ok {
		return nil, domain.NewError(domain.ReasonCursorInvalid)
	}
	return &position, nil
}

// afterSequence is the same where sequences are positions.
func (p Page) afterSequence(f filter) (*int64, error) {
	position, err := p.after(f)
	if position == nil {
		return nil, err
	}
	high, low := binary.BigEndian.Uint64(position[:8]), binary.BigEndian.Uint64(position[8:])
	if high != 0 || low > math.MaxInt64 {
		return nil, domain.NewError(domain.ReasonCursorInvalid)
	}
	sequence := int64(low)
	return &sequence, nil
}

// ofSequence is the position of what has a sequence.
func ofSequence(sequence int64) (position uuid.UUID) {
	binary.BigEndian.PutUint64(position[8:], uint64(sequence))
	return position
}

// A cursor names the last object of a page, and what was asked for by a hash: a version, a position, and the first bytes of the hash. Its
// definition stands on top of proto/vectors/cursors.toml.
const (
	cursorVersion = 1
	cursorHash    = 8
	cursorBytes   = 1 + 16 + cursorHash
)

var cursorText = base64.RawURLEncoding.Strict()

// filter is a list, its merchant and what it is narrowed down to: another's cursor is none of its.
type filter struct{ canonical canonical }

func newFilter(list string, merchantID uuid.UUID) filter {
	return filter{newCanonical(list, domain.FormatID(domain.PrefixMerchant, merchantID))}
}

// text adds a member, if it is set, in the order of the .proto.
func (f filter) text(name string, value *string) filter {
	if value == nil {
		return f
	}
	return filter{f.canonical.text(name, *value)}
}

func (f filter) cursor(position uuid.UUID) string {
	cursor := append(make([]byte, 0, cursorBytes), cursorVersion)
	cursor = append(append(cursor, position[:]...), f.canonical.hash()[:cursorHash]...)
	return cursorText.EncodeToString(cursor)
}

func (f filter) position(cursor string) (position uuid.UUID, ok bool) {
	if len(cursor) != cursorText.EncodedLen(cursorBytes) { // the decoder passes over line ends
		return position, false
	}
	read, err := cursorText.DecodeString(cursor)
	if err != nil || len(read) != cursorBytes || read[0] != cursorVersion || !bytes.Equal(read[cursorBytes-cursorHash:], f.canonical.hash()[:cursorHash]) {
		return position, false
	}
	copy(position[:], read[1:])
	return position, true
}

// List is a page.
type List[T any] struct {
	Data []T    // newest first
	Next string // the next page's cursor; empty on the last one
}

// newList makes a page of the rows of a statement that was asked for one more than its size.
func newList[T any](rows []T, size int, f filter, position func(*T) uuid.UUID) List[T] {
	if len(rows) <= size {
		return List[T]{Data: rows}
	}
	return List[T]{rows[:size], f.cursor(position(&rows[size-1]))}
}
