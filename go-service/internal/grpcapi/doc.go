// Package grpcapi is the gRPC door: the services of payments.v1, with health and reflection. It reads a message, calls one use case and
// answers with a message or a status. What a payment is, and what a key means, must never be decided here.
package grpcapi
