package usecase

import (
	"testing"

	"github.com/BurntSushi/toml"

	"twinpay.dev/payments/internal/domain"
)

func TestSecretsAndSignaturesAreThoseOfTheVectors(t *testing.T) {
	var file struct {
		Signature []struct {
			Endpoint, Secret, ID, Body, Signature string
			Timestamp                             int64
		}
	}
	if _, err := toml.DecodeFile("../../../proto/vectors/signatures.toml", &file); err != nil || len(file.Signature) == 0 {
		t.Fatal(file, err)
	}
	var master [32]byte
	for i := range master {
		master[i] = byte(i)
	}
	for _, c := range file.Signature {
		endpoint, _ := domain.ParseID(domain.PrefixEndpoint, c.Endpoint)
		event, _ := domain.ParseID(domain.PrefixEvent, c.ID)
		secret := NewWebhookSecret(master, endpoint)
		if got := secret.Text(); got != c.Secret {
			t.Errorf("got %s, want %s", got, c.Secret)
		}
		if got := secret.Sign(event, c.Timestamp, []byte(c.Body)); got != c.Signature {
			t.Errorf("got %s, want %s", got, c.Signature)
		}
	}
}
