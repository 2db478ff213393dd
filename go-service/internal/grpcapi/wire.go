package grpcapi

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"twinpay.dev/payments/internal/domain"
	paymentsv1 "twinpay.dev/payments/internal/gen/payments/v1"
	"twinpay.dev/payments/internal/usecase"
)

func wide(n *int32) *int64 {
	if n == nil {
		return nil
	}
	w := int64(*n)
	return &w
}

// tokenCommand copies number and cvc to bytes that can be wiped, and drops the message's own texts, which can't.
func tokenCommand(r *paymentsv1.CreatePaymentTokenRequest) usecase.CreatePaymentToken {
	card := r.GetCard()
	if card == nil {
		return usecase.CreatePaymentToken{}
	}
	command := usecase.CreatePaymentToken{Card: &usecase.Card{
		Number: secret(card.Number), ExpMonth: wide(card.ExpMonth), ExpYear: wide(card.ExpYear), CVC: secret(card.Cvc),
	}}
	card.Number, card.Cvc = nil, nil
	return command
}

func secret(text *string) *domain.Secret {
	if text == nil {
		return nil
	}
	s := domain.NewSecret([]byte(*text))
	return &s
}

// captureText is the JSON name; an unspecified one is as absent.
func captureText(c paymentsv1.CaptureMethod) *string {
	if c == paymentsv1.CaptureMethod_CAPTURE_METHOD_UNSPECIFIED {
		return nil
	}
	return filterText(&c, captureMethods)
}

// filterText is the JSON name; a number without a name is the empty text, which is no value either.
func filterText[J ~string, E comparable](number *E, listed map[J]E) *string {
	if number == nil {
		return nil
	}
	text := ""
	for name, listedNumber := range listed {
		if listedNumber == *number {
			text = string(name)
		}
	}
	return &text
}

func pageOf(size *int32, token *string) usecase.Page {
	return usecase.Page{Field: "page_size", Size: wide(size), Cursor: token}
}

// messages are those of a page's objects.
func messages[T, M any](data []T, message func(*T) *M) []*M {
	all := make([]*M, len(data))
	for i := range data {
		all[i] = message(&data[i])
	}
	return all
}

func metadataCommand(metadata map[string]string) map[string]*string {
	if len(metadata) == 0 {
		return nil
	}
	pairs := make(map[string]*string, len(metadata))
	for key, value := range metadata {
		pairs[key] = &value
	}
	return pairs
}

func paymentMessage(p *domain.Payment) *paymentsv1.Payment {
	message := &paymentsv1.Payment{
		Id:                domain.FormatID(domain.PrefixPayment, p.ID),
		PaymentToken:      domain.FormatID(domain.PrefixPaymentToken, p.PaymentTokenID),
		Amount:            p.Amount,
		Currency:          string(p.Currency),
		Capture:           captureMethods[p.Capture],
		MerchantReference: p.MerchantReference,
		Metadata:          p.Metadata,
		State:             paymentStates[p.State],
		DeclineReason:     declineReasons[p.DeclineReason],
		Authorized:        p.Authorized,
		Captured:          p.Captured,
		Refunded:          p.Refunded,
		ExpiresAt:         timestamp(p.ExpiresAt),
		CreatedAt:         timestamp(p.CreatedAt),
		UpdatedAt:         timestamp(p.UpdatedAt),
	}
	if p.Description != "" {
		message.Description = &p.Description
	}
	return message
}

func refundMessage(r *domain.Refund) *paymentsv1.Refund {
	message := &paymentsv1.Refund{
		Id: domain.FormatID(domain.PrefixRefund, r.ID), Payment: domain.FormatID(domain.PrefixPayment, r.PaymentID), Amount: r.Amount,
		Currency: string(r.Currency), State: refundStates[r.State], CreatedAt: timestamp(r.CreatedAt), UpdatedAt: timestamp(r.UpdatedAt),
	}
	if r.Reason != "" {
		message.Reason = &r.Reason
	}
	if r.FailureReason != "" {
		message.FailureReason = &r.FailureReason
	}
	return message
}

func merchantMessage(m *domain.Merchant) *paymentsv1.Merchant {
	return &paymentsv1.Merchant{
		Id: domain.FormatID(domain.PrefixMerchant, m.ID), Name: m.Name, FeeBps: m.Fees.BPS, FeeFixed: m.Fees.Fixed, AmountLimit: m.AmountLimit,
		VelocityLimit: m.VelocityLimit, CreatedAt: timestamp(m.CreatedAt),
	}
}

func apiKeyMessage(k *domain.APIKey) *paymentsv1.ApiKey {
	message := &paymentsv1.ApiKey{
		Id: domain.FormatID(domain.PrefixAPIKey, k.ID), MerchantId: domain.FormatID(domain.PrefixMerchant, k.MerchantID),
		CreatedAt: timestamp(k.CreatedAt), RevokedAt: timestamp(k.RevokedAt),
	}
	if k.Secret != "" {
		message.Secret = &k.Secret
	}
	return message
}

func balanceMessage(b *domain.Balance) *paymentsv1.Balance {
	return &paymentsv1.Balance{
		Currency: string(b.Currency), AcquirerReceivable: b.AcquirerReceivable, MerchantPayable: b.MerchantPayable, FeeIncome: b.FeeIncome,
	}
}

func entryMessage(e *domain.LedgerEntry) *paymentsv1.LedgerEntry {
	return &paymentsv1.LedgerEntry{
		Id: domain.FormatID(domain.PrefixEntry, e.ID), Operation: domain.FormatID(domain.PrefixOperation, e.OperationID),
		Payment: domain.FormatID(domain.PrefixPayment, e.PaymentID), Account: accounts[e.Account], Currency: string(e.Currency), Amount: e.Amount,
		CreatedAt: timestamp(e.CreatedAt),
	}
}

func tokenMessage(t *domain.PaymentToken) *paymentsv1.PaymentToken {
	return &paymentsv1.PaymentToken{
		Id: domain.FormatID(domain.PrefixPaymentToken, t.ID),
		Card: &paymentsv1.CardSummary{
			Brand: brands[t.Card.Brand], Last4: t.Card.Last4, ExpMonth: int32(t.Card.ExpMonth), ExpYear: int32(t.Card.ExpYear),
		},
		CreatedAt: timestamp(t.CreatedAt),
	}
}

func endpointMessage(e *domain.WebhookEndpoint) *paymentsv1.WebhookEndpoint {
	message := &paymentsv1.WebhookEndpoint{
		Id: domain.FormatID(domain.PrefixEndpoint, e.ID), Url: e.URL, CreatedAt: timestamp(e.CreatedAt), DisabledAt: timestamp(e.DisabledAt),
	}
	if e.Secret != "" {
		message.Secret = &e.Secret
	}
	return message
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// The enums; a unit test compares their names with those in JSON.
var (
	captureMethods = map[domain.CaptureMethod]paymentsv1.CaptureMethod{
		domain.CaptureAutomatic: paymentsv1.CaptureMethod_CAPTURE_METHOD_AUTOMATIC,
		domain.CaptureManual:    paymentsv1.CaptureMethod_CAPTURE_METHOD_MANUAL,
	}
	paymentStates = map[domain.PaymentState]paymentsv1.PaymentState{
		domain.StateProcessing:        paymentsv1.PaymentState_PAYMENT_STATE_PROCESSING,
		domain.StateAuthorized:        paymentsv1.PaymentState_PAYMENT_STATE_AUTHORIZED,
		domain.StatePartiallyCaptured: paymentsv1.PaymentState_PAYMENT_STATE_PARTIALLY_CAPTURED,
		domain.StateCaptured:          paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED,
		domain.StateDeclined:          paymentsv1.PaymentState_PAYMENT_STATE_DECLINED,
		domain.StateVoided:            paymentsv1.PaymentState_PAYMENT_STATE_VOIDED,
		domain.StateExpired:           paymentsv1.PaymentState_PAYMENT_STATE_EXPIRED,
	}
	refundStates = map[domain.RefundState]paymentsv1.RefundState{
		domain.RefundPending:   paymentsv1.RefundState_REFUND_STATE_PENDING,
		domain.RefundSucceeded: paymentsv1.RefundState_REFUND_STATE_SUCCEEDED,
		domain.RefundFailed:    paymentsv1.RefundState_REFUND_STATE_FAILED,
	}
	declineReasons = map[domain.DeclineReason]paymentsv1.DeclineReason{
		domain.DeclineInsufficientFunds: paymentsv1.DeclineReason_DECLINE_REASON_INSUFFICIENT_FUNDS,
		domain.DeclineDoNotHonor:        paymentsv1.DeclineReason_DECLINE_REASON_DO_NOT_HONOR,
		domain.DeclineExpiredCard:       paymentsv1.DeclineReason_DECLINE_REASON_EXPIRED_CARD,
		domain.DeclineIncorrectCVC:      paymentsv1.DeclineReason_DECLINE_REASON_INCORRECT_CVC,
		domain.DeclineLostOrStolen:      paymentsv1.DeclineReason_DECLINE_REASON_LOST_OR_STOLEN,
		domain.DeclineProcessingError:   paymentsv1.DeclineReason_DECLINE_REASON_PROCESSING_ERROR,
		domain.DeclineRiskBlocked:       paymentsv1.DeclineReason_DECLINE_REASON_RISK_BLOCKED,
	}
	accounts = map[domain.Account]paymentsv1.Account{
		domain.AcquirerReceivable: paymentsv1.Account_ACCOUNT_ACQUIRER_RECEIVABLE,
		domain.MerchantPayable:    paymentsv1.Account_ACCOUNT_MERCHANT_PAYABLE,
		domain.FeeIncome:          paymentsv1.Account_ACCOUNT_FEE_INCOME,
	}
	brands = map[domain.Brand]paymentsv1.CardBrand{
		domain.BrandVisa:       paymentsv1.CardBrand_CARD_BRAND_VISA,
		domain.BrandMastercard: paymentsv1.CardBrand_CARD_BRAND_MASTERCARD,
		domain.BrandAmex:       paymentsv1.CardBrand_CARD_BRAND_AMEX,
		domain.BrandDiscover:   paymentsv1.CardBrand_CARD_BRAND_DISCOVER,
		domain.BrandJCB:        paymentsv1.CardBrand_CARD_BRAND_JCB,
		domain.BrandDiners:     paymentsv1.CardBrand_CARD_BRAND_DINERS,
		domain.BrandUnionpay:   paymentsv1.CardBrand_CARD_BRAND_UNIONPAY,
		domain.BrandUnknown:    paymentsv1.CardBrand_CARD_BRAND_UNKNOWN,
	}
)
