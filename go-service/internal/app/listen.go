package app

import (
	"fmt"
	"net"

	"golang.org/x/net/netutil"

	"twinpay.dev/payments/internal/config"
)

// maxConnections bounds a door's descriptors and memory; each idle connection costs some 10 KiB.
const maxConnections = 16_384

func (a *App) listen(c config.Config) error {
	for _, door := range []struct {
		variable, addr string
		bound          *string
	}{{"TWINPAY_HTTP_ADDR", c.HTTPAddr, &a.HTTPAddr}, {"TWINPAY_GRPC_ADDR", c.GRPCAddr, &a.GRPCAddr}, {"TWINPAY_ADMIN_ADDR", c.AdminAddr, &a.AdminAddr}} {
		listener, err := net.Listen("tcp", door.addr)
		if err != nil {
			return fmt.Errorf("%s: %w", door.variable, err)
		}
		a.listeners = append(a.listeners, netutil.LimitListener(listener, maxConnections))
		*door.bound = listener.Addr().String()
	}
	return nil
}
