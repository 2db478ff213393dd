package usecase

import (
	"errors"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
)

func TestCursorsAreThoseOfTheVectors(t *testing.T) {
	type cursor struct {
		List, Merchant, Position, Text, Why string
		Filter                              [][2]string
		Sequence                            *int64
	}
	var file struct {
		Cursor, Invalid []cursor
		InvalidSequence []cursor `toml:"invalid_sequence"`
	}
	if _, err := toml.DecodeFile("../../../proto/vectors/cursors.toml", &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cursor) == 0 || len(file.Invalid) == 0 || len(file.InvalidSequence) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range file.Cursor {
		position, _ := uuid.Parse(c.Position)
		if c.Sequence != nil {
			position = ofSequence(*c.Sequence)
		}
		merchantID, _ := domain.ParseID(domain.PrefixMerchant, c.Merchant)
		f := newFilter(c.List, merchantID)
		for _, member := range c.Filter {
			f = f.text(member[0], &member[1])
		}
		if got := f.cursor(position); got != c.Text {
			t.Errorf("%+v: got %s", c, got)
		}
		if got, ok := f.position(c.Text); !ok || got != position {
			t.Errorf("%+v: got %s, %t", c, got, ok)
		}
		if c.Sequence != nil {
			if got, err := (Page{Cursor: &c.Text}).afterSequence(f); err != nil || *got != *c.Sequence {
				t.Errorf("%+v: got %v, %v", c, got, err)
			}
		}
	}
	valid := file.Cursor[0]
	file.Invalid = append(file.Invalid, cursor{Why: "a line end within", Merchant: valid.Merchant, Text: valid.Text[:4] + "\n" + valid.Text[4:]})
	for _, c := range file.Invalid {
		merchantID, _ := domain.ParseID(domain.PrefixMerchant, c.Merchant)
		if got, ok := newFilter("list_payments", merchantID).position(c.Text); ok {
			t.Errorf("%s: got %s", c.Why, got)
		}
	}
	for _, c := range file.InvalidSequence {
		merchantID, _ := domain.ParseID(domain.PrefixMerchant, c.Merchant)
		var refused *domain.Error
		if got, err := (Page{Cursor: &c.Text}).afterSequence(newFilter("list_events", merchantID)); !errors.As(err, &refused) || refused.Reason != domain.ReasonCursorInvalid {
			t.Errorf("%s: got %v, %v", c.Why, got, err)
		}
	}
}

func TestTheRowBeyondThePageSaysThatThereIsMore(t *testing.T) {
	f := newFilter("list_payments", uuid.Nil)
	ids := []uuid.UUID{{3}, {2}, {1}}
	own := func(id *uuid.UUID) uuid.UUID { return *id }
	for rows, want := range []List[uuid.UUID]{{ids[:0], ""}, {ids[:1], ""}, {ids[:2], ""}, {ids[:2], f.cursor(ids[1])}} {
		if got := newList(ids[:rows], 2, f, own); len(got.Data) != len(want.Data) || got.Next != want.Next {
			t.Errorf("%d rows: got %+v, want %+v", rows, got, want)
		}
	}
}
