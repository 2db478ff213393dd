package store

import (
	"context"

	"twinpay.dev/payments/internal/domain"
)

var insertPaymentToken = newStatement[outcomeRow]("insert_payment_token", writes)

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
