package grpcapi

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"twinpay.dev/payments/internal/domain"
	paymentsv1 "twinpay.dev/payments/internal/gen/payments/v1"
	"twinpay.dev/payments/internal/reply"
	"twinpay.dev/payments/internal/telemetry"
	"twinpay.dev/payments/internal/usecase"
)

// interceptStream observes a stream of ours from its beginning to its end. Others end when the service drains, since a stream that watches
// never ends by itself.
func (d *Door) interceptStream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	arrived := time.Now()
	m := methods[info.FullMethod]
	if m == nil {
		ctx, cancel := context.WithCancel(stream.Context())
		defer cancel()
		defer context.AfterFunc(d.draining, cancel)()
		var served grpc.ServerStream = endingStream{stream, ctx}
		if !info.IsClientStream {
			served = punctualStream{served, d, arrived}
		}
		err := handler(server, served)
		if d.draining.Err() != nil {
			return drainingStatus.Err()
		}
		return told(err)
	}
	incoming, _ := metadata.FromIncomingContext(stream.Context())
	ctx, span := d.telemetry.StartServer(stream.Context(), first(incoming.Get(telemetry.TraceparentHeader)), m.name, m.span...)
	defer span.End()
	_ = stream.SetHeader(newRequestID()) // fails on a stream that has ended
	err := recovered(func() error { return handler(server, punctualStream{observedStream{stream, ctx}, d, arrived}) })
	rendered, failure := statusOf(err)
	switch {
	case ctx.Err() != nil && !isAnswered(err):
		rendered, failure = status.New(codes.Canceled, "the client has gone"), nil
	case errors.Is(err, usecase.ErrDraining):
		rendered, failure = drainingStatus, nil
	default:
		if theirs, ok := status.FromError(err); ok && err != nil {
			rendered, failure = theirs, nil // the library's own, of a message that can't be sent
		}
	}
	d.report(trace.ContextWithSpan(ctx, span), m, rendered, failure, err, time.Since(arrived))
	return rendered.Err()
}

var drainingStatus = status.New(codes.Unavailable, "the service is draining")

// WatchEvents implements EventService.
func (d *Door) WatchEvents(r *paymentsv1.WatchEventsRequest, stream grpc.ServerStreamingServer[paymentsv1.WatchEventsResponse]) error {
	incoming, _ := metadata.FromIncomingContext(stream.Context())
	call, err := d.admit(stream.Context(), methods[paymentsv1.EventService_WatchEvents_FullMethodName], incoming)
	if err != nil {
		return err
	}
	watch, err := d.payments.WatchEvents(stream.Context(), call, usecase.WatchEvents{Field: "after_sequence", AfterSequence: r.AfterSequence})
	if err != nil {
		return err
	}
	defer watch.Close()
	sender := newSender(stream, d.payments.Streams.Write)
	defer close(sender.messages)
	for {
		events, err := watch.Next(stream.Context())
		if err == nil && len(events) == 0 {
			err = sender.send(&paymentsv1.WatchEventsResponse{Item: &paymentsv1.WatchEventsResponse_Heartbeat{Heartbeat: &paymentsv1.Heartbeat{}}})
		}
		for i := range events {
			var event *paymentsv1.Event
			if event, err = eventMessage(&events[i]); err == nil {
				err = sender.send(&paymentsv1.WatchEventsResponse{Item: &paymentsv1.WatchEventsResponse_Event{Event: event}})
			}
			if err != nil {
				break
			}
		}
		if err != nil {
			return err
		}
	}
}

func eventMessage(e *domain.Event) (*paymentsv1.Event, error) {
	message := &paymentsv1.Event{
		Id: domain.FormatID(domain.PrefixEvent, e.ID), Type: e.Type, Sequence: e.Sequence, CreatedAt: timestamp(e.CreatedAt),
	}
	if strings.HasPrefix(e.Type, "refund.") {
		refund, err := reply.ParseRefund(e.Object)
		message.Object = &paymentsv1.Event_Refund{Refund: refundMessage(&refund)}
		return message, err
	}
	payment, err := reply.ParsePayment(e.Object)
	message.Object = &paymentsv1.Event_Payment{Payment: paymentMessage(&payment)}
	return message, err
}

// sender gives up a consumer that doesn't read: grpc-go's SendMsg waits for it.
type sender struct {
	ctx      context.Context
	messages chan *paymentsv1.WatchEventsResponse
	failed   chan error
	limit    time.Duration
}

// newSender sends until messages is closed. A SendMsg that waits ends with the stream.
func newSender(stream grpc.ServerStreamingServer[paymentsv1.WatchEventsResponse], limit time.Duration) *sender {
	s := &sender{stream.Context(), make(chan *paymentsv1.WatchEventsResponse), make(chan error, 1), limit}
	go func() {
		for message := range s.messages {
			if err := stream.Send(message); err != nil {
				s.failed <- err
				return
			}
		}
	}()
	return s
}

func (s *sender) send(message *paymentsv1.WatchEventsResponse) error {
	timer := time.NewTimer(s.limit)
	defer timer.Stop()
	select {
	case s.messages <- message:
		return nil
	case err := <-s.failed:
		return err
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-timer.C:
		return domain.NewError(domain.ReasonOverloaded)
	}
}

// punctualStream is a stream with one message from its client, who may not withhold it; what follows may take as long as it likes.
type punctualStream struct {
	grpc.ServerStream
	door    *Door
	arrived time.Time
}

func (s punctualStream) RecvMsg(message any) error {
	return s.door.receive(s.Context(), s.arrived, s.ServerStream.RecvMsg, message)
}

// observedStream is a stream with its span.
type observedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s observedStream) Context() context.Context { return s.ctx }

func (s observedStream) RecvMsg(message any) error { return strictly(s.ServerStream.RecvMsg)(message) }

// endingStream is a stream that ends with another context.
type endingStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s endingStream) Context() context.Context { return s.ctx }

// RecvMsg gives up with the context; grpc-go's waits for the client. That one goes on until the stream is over, which it is soon.
func (s endingStream) RecvMsg(message any) error {
	received := make(chan error, 1)
	go func() { received <- s.ServerStream.RecvMsg(message) }()
	select {
	case err := <-received:
		return err
	case <-s.ctx.Done():
		return status.FromContextError(s.ctx.Err()).Err()
	}
}
