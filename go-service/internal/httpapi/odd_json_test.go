package httpapi

import (
	"encoding/hex"
	plain "encoding/json"
	"maps"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

type (
	plainPayment struct {
		Amount            int64             `json:"amount"`
		Currency          string            `json:"currency"`
		PaymentToken      string            `json:"payment_token"`
		Capture           string            `json:"capture"`
		MerchantReference string            `json:"merchant_reference"`
		Description       *string           `json:"description,omitzero"`
		Metadata          map[string]string `json:"metadata,omitzero"`
	}
	plainCapture struct {
		Amount *int64 `json:"amount,omitzero"`
		Final  *bool  `json:"final,omitzero"`
	}
	plainToken struct {
		Card plainCard `json:"card"`
	}
	plainCard struct {
		Number   string `json:"number"`
		ExpMonth int64  `json:"exp_month"`
		ExpYear  int64  `json:"exp_year"`
		CVC      string `json:"cvc"`
	}
)

type oddRow struct {
	Name, Call, Body string
	Go               any
}

// What encoding/json makes of the bodies that the contract's own rules are for.
func TestPlainDecoderDoesWhatTheTableSays(t *testing.T) {
	ordinary, rows := readOddRows(t)
	for _, row := range rows {
		want := decodePlainly(t, row.Call, ordinary[row.Call])
		switch plainly := row.Go.(type) {
		case map[string]any:
			maps.Copy(want, plainly)
		case string:
			if plainly == "refused" {
				want = nil
			} else if plainly != "taken" {
				t.Errorf("%s: %q isn't a word", row.Name, plainly)
			}
		default:
			t.Errorf("%s: %v says nothing", row.Name, row.Go)
		}
		if got, want := asText(t, decodePlainly(t, row.Call, row.Body)), asText(t, want); got != want {
			t.Errorf("%s (null: refused): got %s, want %s", row.Name, got, want)
		}
	}
}

func readOddRows(t *testing.T) (ordinary map[string]string, rows []oddRow) {
	t.Helper()
	paths, err := filepath.Glob("../../../proto/vectors/odd_json*.toml")
	if err != nil {
		t.Fatal(err)
	}
	rest := ""
	for _, path := range paths { // odd_json.toml, which says what ${rest} is, comes first
		var file struct {
			Rest     string
			Ordinary map[string]string
			Row      []oddRow
		}
		if _, err := toml.DecodeFile(path, &file); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if file.Ordinary != nil {
			ordinary, rest = file.Ordinary, file.Rest
		}
		for _, row := range file.Row {
			if row.Call == "" {
				row.Call = "CreatePayment"
			}
			row.Body = fillIn(t, row.Body, rest)
			rows = append(rows, row)
		}
	}
	for call, body := range ordinary {
		ordinary[call] = fillIn(t, body, rest)
	}
	if len(rows) < 60 {
		t.Fatalf("%d rows in %v", len(rows), paths)
	}
	return ordinary, rows
}

var placeholder = regexp.MustCompile(`\$\{(?:hex:([0-9a-f]*)|repeat:([^}]*):([0-9]+))\}`)

func fillIn(t *testing.T, body, rest string) string {
	t.Helper()
	return placeholder.ReplaceAllStringFunc(strings.ReplaceAll(body, "${rest}", rest), func(found string) string {
		parts := placeholder.FindStringSubmatch(found)
		if count, err := strconv.Atoi(parts[3]); err == nil {
			return strings.Repeat(parts[2], count)
		}
		raw, err := hex.DecodeString(parts[1])
		if err != nil {
			t.Fatalf("%s: %v", found, err)
		}
		return string(raw)
	})
}

// The members that are there; nil where it is refused.
func decodePlainly(t *testing.T, call, body string) (members map[string]any) {
	t.Helper()
	var value any
	switch call {
	case "CreatePayment":
		value = &plainPayment{}
	case "CapturePayment":
		value = &plainCapture{}
	case "CreatePaymentToken":
		value = &plainToken{}
	default:
		t.Fatalf("%s has no plain struct", call)
	}
	if plain.Unmarshal([]byte(body), value) != nil {
		return nil
	}
	decoder := plain.NewDecoder(strings.NewReader(asText(t, value)))
	decoder.UseNumber() // a float would lose the last digits
	if err := decoder.Decode(&members); err != nil {
		t.Fatal(err)
	}
	return members
}

func asText(t *testing.T, value any) string {
	t.Helper()
	text, err := plain.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
