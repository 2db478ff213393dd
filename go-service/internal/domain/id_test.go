package domain

import (
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/uuid"
)

func TestTypeIDsAreThoseOfTheVectors(t *testing.T) {
	var file struct {
		Valid   []struct{ Prefix, UUID, Text string }
		Invalid []struct{ Prefix, Text string }
	}
	if _, err := toml.DecodeFile("../../../proto/vectors/type_ids.toml", &file); err != nil {
		t.Fatal(err)
	}
	for _, v := range file.Valid {
		id := uuid.MustParse(v.UUID)
		if got := FormatID(v.Prefix, id); got != v.Text {
			t.Errorf("FormatID(%s): got %s, want %s", v.UUID, got, v.Text)
		}
		if got, ok := ParseID(v.Prefix, v.Text); !ok || got != id {
			t.Errorf("ParseID(%s): got %s, %v, want %s", v.Text, got, ok, v.UUID)
		}
	}
	for _, v := range file.Invalid {
		if got, ok := ParseID(v.Prefix, v.Text); ok {
			t.Errorf("ParseID(%q) took it for %s", v.Text, got)
		}
	}
	if len(file.Valid) == 0 || len(file.Invalid) == 0 {
		t.Error("no vectors")
	}
}

func TestEveryNewIDComesBack(t *testing.T) {
	for range 1000 {
		id := NewID()
		if got, ok := ParseID(PrefixPayment, FormatID(PrefixPayment, id)); !ok || got != id {
			t.Fatalf("%s came back as %s, %v", id, got, ok)
		}
	}
}
