package domain

import (
	"testing"

	"github.com/BurntSushi/toml"
)

func TestAmountsAndFeesAreThoseOfTheVectors(t *testing.T) {
	var file struct {
		Amount []struct {
			Value int64
			Valid bool
		}
		Fee []struct {
			Amount   int64
			FeeBPS   int32 `toml:"fee_bps"`
			FeeFixed int64 `toml:"fee_fixed"`
			Fee      int64
		}
	}
	if _, err := toml.DecodeFile("../../../proto/vectors/money.toml", &file); err != nil {
		t.Fatal(err)
	}
	for _, v := range file.Amount {
		if got := ValidAmount(v.Value); got != v.Valid {
			t.Errorf("ValidAmount(%d): got %v, want %v", v.Value, got, v.Valid)
		}
	}
	for _, v := range file.Fee {
		if got := (Fees{v.FeeBPS, v.FeeFixed}).On(v.Amount); got != v.Fee {
			t.Errorf("fee on %d at %d bps and %d: got %d, want %d", v.Amount, v.FeeBPS, v.FeeFixed, got, v.Fee)
		}
		sum := int64(0)
		for _, e := range captureJournal(v.Amount, Fees{v.FeeBPS, v.FeeFixed}) {
			if e.Amount == 0 {
				t.Errorf("journal of %d: an entry of zero on %s", v.Amount, e.Account)
			}
			sum += e.Amount
		}
		if sum != 0 {
			t.Errorf("journal of %d at %d bps and %d sums to %d", v.Amount, v.FeeBPS, v.FeeFixed, sum)
		}
	}
}
