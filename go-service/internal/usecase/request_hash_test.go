package usecase

import (
	"encoding/hex"
	"testing"

	"github.com/BurntSushi/toml"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/hashpool"
	"twinpay.dev/payments/internal/telemetry"
)

func pepper(t *testing.T, text string) (key [32]byte) {
	t.Helper()
	if _, err := hex.Decode(key[:], []byte(text)); err != nil {
		t.Fatal(err)
	}
	return key
}

func TestCanonicalRequestsAreThoseOfTheVectors(t *testing.T) {
	var file struct {
		Request []struct {
			Operation, Text, SHA256 string
			Path                    []string
			Members                 [][2]string
		}
	}
	if _, err := toml.DecodeFile("../../../proto/vectors/request_hash.toml", &file); err != nil {
		t.Fatal(err)
	}
	for _, v := range file.Request {
		c := newCanonical(v.Operation, v.Path...)
		for _, member := range v.Members {
			c = c.text(member[0], member[1])
		}
		if string(c) != v.Text || hex.EncodeToString(c.hash()) != v.SHA256 {
			t.Errorf("got %q %x\nwant %q %s", c, c.hash(), v.Text, v.SHA256)
		}
	}
}

// The verbs' own members, against the vectors that name them.
func TestEachVerbHashesItsMembers(t *testing.T) {
	velocity := int32(3)
	amount, cent := int64(400), int64(1)
	p := &Payments{Pepper: pepper(t, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")}
	card := domain.Card{Number: domain.NewSecret([]byte("4242424242424242")), ExpMonth: 12, ExpYear: 2030, CVC: domain.NewSecret([]byte("123"))}
	cases := []struct {
		name string
		got  []byte
		want string
	}{
		{"merchant", merchantHash(&domain.Merchant{Name: "a", AmountLimit: 5, VelocityLimit: &velocity}), "7834544b45c73d63458446ea80bd779db5874b2251459e22dca4be7b7f07fecc"},
		{"token", p.tokenHash(card), "8ce7269415d13af34b86346a988049b8041e555d07e8ddaf70306331fc22b3e6"},
		{"payment", createHash(&domain.Payment{Amount: 1, Currency: "JPY", Capture: "manual", MerchantReference: "ü:,", Description: "two\nlines",
			Metadata: map[string]string{"é": "x", "b.c": "", "a": "1"}}, "ptk_01k8nkrkayfxg828t5cy4tqkff"), "9dd7b5c1bd1da9e39ecd4a5a4523d0130c5737370c3987269e9107cc75ca1370"},
		{"capture of all", captureHash(CapturePayment{ID: "pay_01h455vb4pex5vsknk084sn02q"}, true), "25e6367cafed6ef818e20834c1b87e8863b9ceff69c1b381aa28f49e1c997ca8"},
		{"capture of a part", captureHash(CapturePayment{ID: "pay_01h455vb4pex5vsknk084sn02q", Amount: &amount}, false), "54b8ed5fba3d5c86e3991dec37888e83ff4e7f3a4dcca0cec14697b6c99ad8cb"},
		{"refund of all", refundHash("pay_01h455vb4pex5vsknk084sn02q", domain.Command{}), "0fc282f0d710bcde55fbbafdb7a0f773e4370573b76821990db7ebf2c8df8882"},
		{"refund of a part", refundHash("pay_01h455vb4pex5vsknk084sn02q", domain.Command{Amount: &cent, Reason: "Größe passt nicht"}),
			"0645d04eb4d798aefec3a47d62a052901e9c16e824243ed9469454458dd59dda"},
		{"void", voidHash("pay_01h455vb4pex5vsknk084sn02q"), "a1ffcd2a990c609d6f0639082a315c4715a51998901816ca8f4173b8b2027c92"},
	}
	for _, c := range cases {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestFingerprintsAndProvisionIDsAreThoseOfTheVectors(t *testing.T) {
	var file struct {
		Fingerprint []struct {
			Pepper, Number, Merchant, Fingerprint string
			Iterations                            int
		}
		Provision []struct {
			Pepper, Merchant, Key string
			RequestHash           string `toml:"request_hash"`
			OperationID           string `toml:"operation_id"`
		}
	}
	if _, err := toml.DecodeFile("../../../proto/vectors/fingerprint.toml", &file); err != nil {
		t.Fatal(err)
	}
	quiet, err := telemetry.New(t.Context(), "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range file.Fingerprint {
		p := &Payments{Pepper: pepper(t, v.Pepper), HashIterations: v.Iterations, HashPool: hashpool.New(1, 0, 0, quiet)}
		merchant, _ := domain.ParseID(domain.PrefixMerchant, v.Merchant)
		got, err := p.fingerprint(t.Context(), domain.Card{Number: domain.NewSecret([]byte(v.Number))}, merchant)
		if err != nil || hex.EncodeToString(got) != v.Fingerprint {
			t.Errorf("%s with %d iterations: got %x, %v, want %s", v.Number, v.Iterations, got, err, v.Fingerprint)
		}
	}
	for _, v := range file.Provision {
		p := &Payments{Pepper: pepper(t, v.Pepper)}
		merchant, _ := domain.ParseID(domain.PrefixMerchant, v.Merchant)
		hash := pepper(t, v.RequestHash)
		if got := domain.FormatID(domain.PrefixOperation, p.provisionID(merchant, v.Key, hash[:])); got != v.OperationID {
			t.Errorf("%s: got %s, want %s", v.Key, got, v.OperationID)
		}
	}
}
