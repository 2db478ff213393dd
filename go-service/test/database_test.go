package test

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"twinpay.dev/payments/test/testdb"
)

func TestAStatementThatIsCutOffFreesItsPlaceInThePool(t *testing.T) {
	t.Parallel()
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	database, host := behind(t, door.Addr().String())
	r := &road{swallowed: make(chan struct{}, 8)}
	go r.forward(door, host)
	s := start(t, settings{database: database, env: map[string]string{"DATABASE_CONNECTIONS": "1", "DATABASE_WAIT_MS": "10000"}})
	get := func(timeout string) reply {
		return s.send(http.MethodGet, "/v1/payments/x", "", "Authorization", "Bearer "+s.key, "Request-Timeout-Ms", timeout)
	}
	s.refused(404, "RESOURCE_NOT_FOUND", get("10000"))
	r.blocked.Store(true)
	s.refused(504, "DEADLINE_EXCEEDED", get("100"))
	<-r.swallowed // the connection that asks Postgres to cancel the statement, and is given 15 s
	r.blocked.Store(false)
	s.refused(404, "RESOURCE_NOT_FOUND", get("10000"))
}

func TestPostgresMayComeLater(t *testing.T) {
	t.Parallel()
	// Nothing else listens on this address, so the port is free still when Postgres comes.
	door, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := door.Addr().String()
	_ = door.Close()
	database, host := behind(t, addr)
	s := launch(t, settings{database: database})
	if ready := s.get("http://" + s.app.AdminAddr + "/readyz"); ready.status != 503 || ready.body != `{"status":"unready","reasons":["schema_unseen"]}` {
		t.Errorf("got %d %s", ready.status, ready.body)
	}
	s.must(200, s.send("GET", "/livez", ""))
	s.refused(503, "OVERLOADED", s.admin("POST", "/v1/merchants", `{"name":"m"}`))
	health, err := healthv1.NewHealthClient(s.grpc).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || health.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("got %v, %v", health, err)
	}
	if door, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = door.Close() })
	go new(road).forward(door, host)
	s.awaitReady()
	s.must(201, s.admin("POST", "/v1/merchants", `{"name":"m"}`))
}

// behind is a new database that the service reaches at another address, and Postgres' own.
func behind(t *testing.T, addr string) (database testdb.Database, host string) {
	t.Helper()
	database = testdb.Migrated(t)
	service, err := url.Parse(database.Service)
	if err != nil {
		t.Fatal(err)
	}
	host, service.Host = service.Host, addr
	database.Service = service.String()
	return database, host
}

// road leads to Postgres. Where it is blocked, it swallows all that is sent; a connection that is made then stays without an answer.
type road struct {
	blocked   atomic.Bool
	swallowed chan struct{} // one for each such connection
}

// forward joins each connection to one of the target.
func (r *road) forward(door net.Listener, target string) {
	for {
		here, err := door.Accept()
		if err != nil {
			return
		}
		if r.blocked.Load() {
			r.swallowed <- struct{}{}
			go func() { _, _ = io.Copy(io.Discard, here); _ = here.Close() }()
			continue
		}
		there, err := net.Dial("tcp", target)
		if err != nil {
			_ = here.Close()
			continue
		}
		go func() { _, _ = io.Copy(gate{there, r}, here); _ = there.Close() }()
		go func() { _, _ = io.Copy(here, there); _ = here.Close() }()
	}
}

// gate lets through what the road does.
type gate struct {
	io.Writer
	road *road
}

func (g gate) Write(p []byte) (int, error) {
	if g.road.blocked.Load() {
		return len(p), nil
	}
	return g.Writer.Write(p)
}
