// Package receiver is the client of merchants' receivers: one POST an attempt, over a connection of its own, so that every address is looked
// at when it is dialled and nothing outlives the attempt. It follows no redirect, asks no proxy and keeps no cookie.
package receiver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"twinpay.dev/payments/internal/domain"
)

const (
	// attemptTimeout is for a whole attempt, from the look-up of the name to the end of the answer.
	attemptTimeout = 10 * time.Second
	// maxAnswer is what is read of an answer's head, and of its body; nobody looks at either.
	maxAnswer = 64 << 10
	userAgent = "twinpay-webhooks/1"
)

// Client posts webhooks. Its fields are set once, before the first attempt.
type Client struct {
	Allow   func(netip.Addr) bool                                        // asked for each address of each attempt
	LookUp  func(ctx context.Context, host string) ([]netip.Addr, error) // the system's resolver
	Timeout time.Duration                                                // of a whole attempt
	TLS     *tls.Config                                                  // nil: the system's certificates
}

// New makes a client for the configured targets.
func New(targets domain.WebhookTargets) *Client {
	lookUp := func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	return &Client{Allow: targets.Allow, LookUp: lookUp, Timeout: attemptTimeout}
}

// Post makes one attempt. The headers name and sign it.
func (c *Client) Post(ctx context.Context, url string, target domain.Target, headers http.Header, body []byte) domain.Attempt {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	status, err := c.exchange(ctx, url, target, headers, body)
	var failed fault
	switch {
	case err == nil:
		return domain.Attempt{Status: status}
	case ctx.Err() != nil:
		return domain.Attempt{Status: status, Fault: domain.FaultTimeout}
	case errors.As(err, &failed):
		return domain.Attempt{Status: status, Fault: domain.Fault(failed)}
	}
	return domain.Attempt{Status: status, Fault: domain.FaultConnect}
}

// fault is an error that is told by its name.
type fault domain.Fault

func (f fault) Error() string { return string(f) }

func (c *Client) exchange(ctx context.Context, url string, target domain.Target, headers http.Header, body []byte) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.GetBody = nil // an attempt is sent once
	request.Header = headers.Clone()
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", userAgent)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx, target) }
	transport := &http.Transport{
		DialContext: dial, DialTLSContext: dial, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxAnswer,
	}
	response, err := transport.RoundTrip(request) // a http.Client would follow redirects
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return response.StatusCode, fault(domain.FaultStatus)
	}
	if _, err := io.CopyN(io.Discard, response.Body, maxAnswer); err != nil && !errors.Is(err, io.EOF) {
		return response.StatusCode, fault(domain.FaultBody)
	}
	return response.StatusCode, nil
}

// dial dials what it looked at: between the look-up and the dial nobody is asked again.
func (c *Client) dial(ctx context.Context, target domain.Target) (net.Conn, error) {
	found, err := c.LookUp(ctx, target.Host)
	if err != nil {
		return nil, err
	}
	err = fault(domain.FaultRefusedAddress)
	for _, address := range found {
		if address = address.Unmap(); !c.Allow(address) {
			continue
		}
		var conn net.Conn
		if conn, err = new(net.Dialer).DialContext(ctx, "tcp", netip.AddrPortFrom(address, target.Port).String()); err != nil {
			continue
		}
		if !target.TLS {
			return conn, nil
		}
		return c.shakeHands(ctx, conn, target.Host)
	}
	return nil, err
}

func (c *Client) shakeHands(ctx context.Context, conn net.Conn, host string) (net.Conn, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLS != nil {
		config = c.TLS.Clone()
	}
	config.ServerName = host
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // it is of no use any more
		return nil, fault(domain.FaultTLS)
	}
	return secure, nil
}
