package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
)

var (
	insertPaymentToken = newStatement[outcomeRow]("insert_payment_token", writes)
	getPaymentToken    = newStatement[paymentTokenRow]("get_payment_token", opens)
)

// NewToken is a payment token with what is stored of the card besides.
type NewToken struct {
	Token        domain.PaymentToken
	Fingerprint  []byte
	NetworkToken string
}

// InsertPaymentToken stores the token and the reply under the key: Created, Replay, KeyReused or LookAgain.
func (d *DB) InsertPaymentToken(ctx context.Context, key Key, t NewToken, reply Stored) (Claim, error) {
	card := t.Token.Card
	row, found, err := insertPaymentToken.one(ctx, d, key.MerchantID, key.Key, key.RequestHash, t.Token.ID, t.Fingerprint, t.NetworkToken,
		string(card.Brand), card.Last4, int16(card.ExpMonth), int16(card.ExpYear), t.Token.CreatedAt, int16(reply.Status), reply.Body)
	row, err = always(insertPaymentToken.name, row, found, err)
	return row.claim(), err
}

type paymentTokenRow struct {
	ID        uuid.UUID
	Brand     domain.Brand
	Last4     string `db:"last4"`
	ExpMonth  int16
	ExpYear   int16
	CreatedAt time.Time
}

// GetPaymentToken reports false where the merchant has no such token.
func (d *DB) GetPaymentToken(ctx context.Context, merchantID, id uuid.UUID) (domain.PaymentToken, bool, error) {
	row, found, err := getPaymentToken.one(ctx, d, merchantID, id)
	card := domain.CardSummary{Brand: row.Brand, Last4: row.Last4, ExpMonth: int(row.ExpMonth), ExpYear: int(row.ExpYear)}
	return domain.PaymentToken{ID: row.ID, Card: card, CreatedAt: row.CreatedAt}, found, err
}
