package test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	acquirerv1 "twinpay.dev/payments/internal/gen/acquirer/v1"
)

// network is a card network that a test holds in its hand: sale answers, or waits for what the test does.
type network struct {
	acquirerv1.UnimplementedAcquirerServiceServer
	sale      func(context.Context, *acquirerv1.SaleRequest) (*acquirerv1.SaleResponse, error)
	provision func(context.Context) error
	noToken   bool // whether what it provisions is empty
	lost      atomic.Bool
}

// listen starts the network and returns its URL.
func (n *network) listen(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	acquirerv1.RegisterAcquirerServiceServer(server, n)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return "http://" + listener.Addr().String()
}

func (n *network) ProvisionToken(ctx context.Context, _ *acquirerv1.ProvisionTokenRequest) (*acquirerv1.ProvisionTokenResponse, error) {
	if n.provision != nil {
		if err := n.provision(ctx); err != nil {
			return nil, err
		}
	}
	if n.noToken {
		return &acquirerv1.ProvisionTokenResponse{}, nil
	}
	return &acquirerv1.ProvisionTokenResponse{NetworkToken: "nt_1"}, nil
}

func (n *network) Sale(ctx context.Context, r *acquirerv1.SaleRequest) (*acquirerv1.SaleResponse, error) {
	return n.sale(ctx, r)
}

func sell(context.Context, *acquirerv1.SaleRequest) (*acquirerv1.SaleResponse, error) {
	return approved(), nil
}

func (n *network) Authorize(context.Context, *acquirerv1.AuthorizeRequest) (*acquirerv1.AuthorizeResponse, error) {
	return &acquirerv1.AuthorizeResponse{Result: approved().Result}, nil
}

// Void loses its first answer.
func (n *network) Void(context.Context, *acquirerv1.VoidRequest) (*acquirerv1.VoidResponse, error) {
	return &acquirerv1.VoidResponse{Result: approved().Result}, n.loseOnce()
}

// Refund loses its first answer.
func (n *network) Refund(context.Context, *acquirerv1.RefundRequest) (*acquirerv1.RefundResponse, error) {
	return &acquirerv1.RefundResponse{Result: approved().Result}, n.loseOnce()
}

func (n *network) loseOnce() error {
	if n.lost.CompareAndSwap(false, true) {
		return status.Error(codes.Unavailable, "lost")
	}
	return nil
}

func approved() *acquirerv1.SaleResponse {
	return &acquirerv1.SaleResponse{Result: &acquirerv1.Result{Outcome: acquirerv1.Outcome_OUTCOME_APPROVED}}
}

// held is a sale that tells that it has begun, and waits for the test; only the first one does.
type held struct {
	begun, release chan struct{}
	first          chan struct{}
}

func newHeld() *held {
	h := &held{begun: make(chan struct{}), release: make(chan struct{}), first: make(chan struct{}, 1)}
	h.first <- struct{}{}
	return h
}

func (h *held) sale(context.Context, *acquirerv1.SaleRequest) (*acquirerv1.SaleResponse, error) {
	select {
	case <-h.first:
		close(h.begun)
		<-h.release
	default:
	}
	return approved(), nil
}

// ask is a sale that waits for the test.
type ask struct {
	ctx         context.Context // ends when the service gives it up
	traceparent string
	approve     chan bool // false: it is lost
}

// asks are the sales that a network is asked for, each of which waits for the test.
type asks chan ask

func (a asks) sale(ctx context.Context, _ *acquirerv1.SaleRequest) (*acquirerv1.SaleResponse, error) {
	incoming, _ := metadata.FromIncomingContext(ctx)
	asked := ask{ctx, strings.Join(incoming.Get("traceparent"), ","), make(chan bool, 1)}
	a <- asked
	select {
	case ok := <-asked.approve:
		if !ok {
			return nil, status.Error(codes.Unavailable, "lost")
		}
		return approved(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
