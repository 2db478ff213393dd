package usecase

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"twinpay.dev/payments/internal/acquirer"
	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/reply"
	"twinpay.dev/payments/internal/store"
	"twinpay.dev/payments/internal/telemetry"
)

const (
	// releaseAfter is when the recovery may ask about an operation whose answer was lost: an acquirer in trouble isn't asked at once.
	releaseAfter = time.Second
	// releaseTimeout is its own: the request's deadline may be over.
	releaseTimeout = time.Second
	// replayInterval is how often a request that somebody else settles looks for the reply.
	replayInterval = 50 * time.Millisecond
)

// ErrFenced is said where somebody else has settled the operation or holds its lease: nothing was changed.
var ErrFenced = errors.New("the operation's lease is somebody else's")

// operateOn is operate for a payment that is there, by its id as it was sent: a malformed one is unknown.
func (p *Payments) operateOn(ctx context.Context, call Call, id string, command domain.Command, requestHash []byte) (Reply, error) {
	paymentID, _ := domain.ParseID(domain.PrefixPayment, id)
	now := p.now()
	key := store.Key{MerchantID: call.MerchantID, Key: call.Key, RequestHash: requestHash}
	o := store.Operation{
		MerchantID: call.MerchantID, ID: domain.NewID(), Command: command, Payment: domain.Payment{ID: paymentID}, Traceparent: telemetry.Traceparent(ctx),
		CreatedAt: now,
	}
	return p.operate(ctx, key, o, func(ctx context.Context, o store.Operation) (store.Claim, error) {
		return p.DB.ClaimOperation(ctx, key, o, now, now.Add(p.Lease))
	})
}

// operate is the road of every verb that moves money: claim, then settle. It runs on when the client goes away.
func (p *Payments) operate(ctx context.Context, key store.Key, o store.Operation, claim func(context.Context, store.Operation) (store.Claim, error)) (Reply, error) {
	p.running.Add(1)
	defer p.running.Done()
	ctx, cancel := detached(ctx)
	defer cancel()
	claimed, err := look(func() (store.Claim, error) { return claim(ctx, o) })
	if err != nil {
		return Reply{}, afterClaim(err, o)
	}
	if claimed.Outcome == store.LookAgain && !o.Command.Kind.First() {
		claimed.Outcome = store.Busy // others took the payment between our snapshot and its lock, each time
	}
	if claimed.Outcome != store.Claimed {
		return settled(claimed, o.Payment.ID, o.Command.Kind.From()...)
	}
	answer, err := p.Settle(ctx, &claimed.Operation)
	switch {
	case errors.Is(err, ErrFenced):
		return p.awaitReplay(ctx, key, o)
	case err != nil:
		return Reply{}, domain.About(domain.ReasonOutcomeUnknown, o.Payment.ID, err)
	}
	return fresh(answer), nil
}

// Settle brings an operation whose lease is ours to its end: decide, ask the acquirer, record. Requests and recovery share it. Every error
// leaves the operation pending, for the recovery.
func (p *Payments) Settle(ctx context.Context, o *store.Operation) (store.Stored, error) {
	p.Telemetry.OperationsPending.Add(ctx, 1)
	defer p.Telemetry.OperationsPending.Add(ctx, -1)
	p.settling.Store(o, ctx)
	defer p.settling.Delete(o)
	amount, refused := domain.Decide(&o.Payment, o.Command)
	if refused != nil {
		answer := problem(refused)
		done, err := p.DB.RejectOperation(ctx, o, answer)
		return answer, fencedUnless(done, err)
	}
	change, err := p.ask(ctx, o, amount)
	if err != nil {
		return store.Stored{}, err
	}
	object := objectOf(o, &change)
	answer := answerTo(o.Command.Kind, &change, object)
	done, err := p.DB.RecordOperation(ctx, o, &change, object, answer)
	return answer, fencedUnless(done, err)
}

// ask learns what the operation comes to. An answer that was lost hands it to the recovery.
func (p *Payments) ask(ctx context.Context, o *store.Operation, amount int64) (domain.Change, error) {
	if o.RiskBlocked {
		return domain.Decline(o.Payment, amount, domain.DeclineRiskBlocked, p.now()), nil
	}
	outcome := p.Acquirer.Ask(ctx, o.ID, o.Command.Kind, o.NetworkToken, amount, o.Payment.Currency)
	switch outcome.Kind {
	case acquirer.Approved:
		return domain.Approve(o.Payment, o.Command, amount, o.Fees, p.now()), nil
	case acquirer.Declined:
		return domain.Decline(o.Payment, amount, outcome.Reason, p.now()), nil
	case acquirer.Refused:
		return domain.Refuse(o.Payment, o.Command.Kind, amount, p.now()), nil
	default: // acquirer.Unknown
		p.release(ctx, o)
		return domain.Change{}, fmt.Errorf("the acquirer's answer is unknown: %w", outcome.Cause)
	}
}

// release hands the operation to the recovery. Nobody waits for it, and if it fails the lease ends by itself.
func (p *Payments) release(ctx context.Context, o *store.Operation) {
	if _, ours := p.settling.Load(o); !ours {
		return // ReleaseAll was here
	}
	released, at, deadline := *o, p.now().Add(releaseAfter), time.Now().Add(releaseTimeout)
	p.running.Go(func() { p.releaseAt(ctx, &released, at, deadline) })
}

// ReleaseAll hands all operations that are being settled to other instances' recovery, at once: this process ends and asks nobody again.
// Those who settle them are fenced off if they go on. It takes no longer than a single release may.
func (p *Payments) ReleaseAll() {
	at, deadline := p.now(), time.Now().Add(releaseTimeout)
	var group sync.WaitGroup
	p.settling.Range(func(o, settling any) bool {
		p.settling.Delete(o)
		group.Go(func() { p.releaseAt(settling.(context.Context), o.(*store.Operation), at, deadline) })
		return true
	})
	group.Wait()
}

// releaseAt has the trace of the context, but neither its deadline nor its cancellation.
func (p *Payments) releaseAt(ctx context.Context, o *store.Operation, at, deadline time.Time) {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	if err := p.DB.ReleaseOperation(ctx, o, at); err != nil {
		p.Telemetry.Log.WarnContext(ctx, "operation not released", "error", err)
	}
}

// afterClaim names the payment in an error that leaves open what a claim did. That of a create may not exist.
func afterClaim(err error, o store.Operation) error {
	var e *domain.Error
	if !o.Command.Kind.First() && errors.As(err, &e) && e.Reason == domain.ReasonOutcomeUnknown {
		return domain.About(e.Reason, o.Payment.ID, e.Cause)
	}
	return err
}

// answerTo is what the key answers from now on.
func answerTo(kind domain.OperationKind, change *domain.Change, object []byte) store.Stored {
	switch {
	case change.Refusal != nil:
		return problem(change.Refusal)
	case kind == domain.KindCapture, kind == domain.KindVoid:
		return store.Stored{Status: http.StatusOK, Body: object}
	default: // domain.KindAuthorize, domain.KindSale, domain.KindRefund
		return store.Stored{Status: http.StatusCreated, Body: object}
	}
}

// objectOf renders what the operation is about, as it is answered and told: the refund, or else the payment.
func objectOf(o *store.Operation, change *domain.Change) []byte {
	if o.Command.Kind != domain.KindRefund {
		return reply.Payment(&change.Payment)
	}
	state := domain.RefundFailed
	if change.Succeeded {
		state = domain.RefundSucceeded
	}
	return reply.Refund(&domain.Refund{
		ID: o.ID, PaymentID: o.Payment.ID, Amount: change.Amount, Currency: o.Payment.Currency, State: state, Reason: o.Command.Reason,
		FailureReason: change.FailureReason, CreatedAt: o.CreatedAt, UpdatedAt: change.Payment.UpdatedAt,
	})
}

func fencedUnless(done bool, err error) error {
	if err == nil && !done {
		return ErrFenced
	}
	return err
}

// awaitReplay polls for the reply that the holder of the lease will store, until the deadline.
func (p *Payments) awaitReplay(ctx context.Context, key store.Key, o store.Operation) (Reply, error) {
	ticker := time.NewTicker(replayInterval)
	defer ticker.Stop()
	for {
		found, err := p.DB.PollReplay(ctx, key)
		if err == nil && found.Outcome == store.Replay {
			return fresh(found.Reply), nil
		}
		select {
		case <-ctx.Done():
			return Reply{}, domain.About(domain.ReasonOutcomeUnknown, o.Payment.ID, errors.Join(ErrFenced, err))
		case <-ticker.C:
		}
	}
}
