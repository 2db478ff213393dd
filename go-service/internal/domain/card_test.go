package domain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
)

func card(number string, month, year int) Card {
	return Card{Number: NewSecret([]byte(number)), ExpMonth: month, ExpYear: year, CVC: NewSecret([]byte("123"))}
}

func TestCardsAreThoseOfTheVectors(t *testing.T) {
	var file struct {
		Card []struct {
			Number, Brand, Last4 string
			Valid                bool
		}
	}
	if _, err := toml.DecodeFile("../../../proto/vectors/cards.toml", &file); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, v := range file.Card {
		c := card(v.Number, 12, 2030)
		if got := c.Check(now) == nil; got != v.Valid {
			t.Errorf("%s: valid %v, want %v", v.Number, got, v.Valid)
		}
		if s := c.Summary(); v.Valid && (string(s.Brand) != v.Brand || s.Last4 != v.Last4) {
			t.Errorf("%s: got %+v, want %s %s", v.Number, s, v.Brand, v.Last4)
		}
	}
}

func TestACardIsGoodUntilItsMonthHasEndedInUTC(t *testing.T) {
	cases := []struct {
		month, year int
		now         string
		good        bool
	}{
		{1, 2025, "2025-01-31T23:59:59.999999Z", true},
		{1, 2025, "2025-02-01T00:00:00Z", false},
		{12, 2024, "2024-12-31T23:59:59Z", true},
		{12, 2024, "2025-01-01T00:00:00Z", false},
		{2, 2024, "2024-02-29T12:00:00+14:00", true},
	}
	for _, c := range cases {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		if got := card("4242424242424242", c.month, c.year).Check(now) == nil; got != c.good {
			t.Errorf("%d/%d at %s: good %v, want %v", c.month, c.year, c.now, got, c.good)
		}
	}
}

func TestASecretShowsNothingOfItself(t *testing.T) {
	// Not digits: the log's time and a pointer's address have those too.
	c := card("4242424242424242", 12, 2030)
	c.Number, c.CVC = NewSecret([]byte("hunter two pans!")), NewSecret([]byte("sly"))
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("card", "number", c.Number, "card", c)
	marshalled, err := json.Marshal(map[string]any{"card": c, "pointer": &c.Number})
	if err != nil {
		t.Fatal(err)
	}
	shown := log.String() + string(marshalled) + c.Number.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%p"} {
		shown += fmt.Sprintf(verb+verb+verb, c, &c, c.Number)
	}
	for _, leak := range []string{"hunter", "68756e74", "104 117", "0x68, 0x75", "sly", "736c79"} {
		if strings.Contains(shown, leak) {
			t.Errorf("%q is in %s", leak, shown)
		}
	}
	c.Wipe()
	if !bytes.Equal(c.Number.Reveal(), make([]byte, 16)) || !bytes.Equal(c.CVC.Reveal(), make([]byte, 3)) {
		t.Errorf("not wiped: %v %v", c.Number.Reveal(), c.CVC.Reveal())
	}
}
