package test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// shop is a service whose webhooks may reach anybody, unless the environment says otherwise.
func shop(t *testing.T, env ...string) *service {
	t.Helper()
	all := map[string]string{"WEBHOOK_TARGETS": "any", "WEBHOOK_RETRY_MS": "1"}
	for i := 0; i < len(env); i += 2 {
		all[env[i]] = env[i+1]
	}
	return start(t, settings{env: all})
}

// endpoint makes an endpoint, and answers its id and its secret.
func (s *service) endpoint(url string) (id, secret string) {
	s.t.Helper()
	made := s.must(201, s.send("POST", "/v1/webhook_endpoints", fmt.Sprintf(`{"url":%q}`, url), "Authorization", "Bearer "+s.key))
	return made.member("id"), made.member("secret")
}

// happen makes so many events that every endpoint is to be told of.
func (s *service) happen(count int) {
	s.t.Helper()
	s.execute(`insert into events (merchant_id, sequence, id, type, data, created_at)
		select merchant_id, last + n, uuid_v7(now()), 'payment.created', '{"n":' || n || '}', now() - interval '1 minute'
		from generate_series(1, $1::int) n, (select distinct merchant_id from webhook_endpoints) m,
			(select coalesce(max(sequence), 0) as last from events) s`, count)
	s.execute(`insert into webhook_deliveries (merchant_id, endpoint_id, id, event_sequence, next_attempt_at, created_at)
		select e.merchant_id, w.id, uuid_v7(now()), e.sequence, now() - interval '1 minute', now()
		from events e join webhook_endpoints w using (merchant_id)
		where not exists (select from webhook_deliveries d where d.endpoint_id = w.id and d.event_sequence = e.sequence)`)
}

// deliver makes one step of the delivery, and checks how many deliveries were due.
func (s *service) deliver(want int) {
	s.t.Helper()
	if got, err := s.app.Workers.Delivery.Step(s.t.Context()); err != nil || got != want {
		s.t.Fatalf("%d deliveries, %v; want %d", got, err, want)
	}
}

// drainDeliveries steps until nothing is due, though all that waits is.
func (s *service) drainDeliveries() {
	s.t.Helper()
	for {
		done, err := s.app.Workers.Delivery.Step(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		if done == 0 {
			return
		}
		s.advance(time.Second)
	}
}

// texts reads one text a row.
func (s *service) texts(sql string) []string {
	s.t.Helper()
	conn, err := pgx.Connect(context.Background(), s.database.Owner)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, _ := conn.Query(context.Background(), sql) // CollectRows returns its error, too
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// attempted checks status and error of each attempt, and state and attempts of each delivery.
func (s *service) attempted(attempts, deliveries []string) {
	s.t.Helper()
	got := s.texts(`select concat_ws(' ', a.status, a.error) from webhook_attempts a join webhook_endpoints w on w.id = a.endpoint_id
		order by w.url, a.delivery_id, a.attempt`)
	if !slices.Equal(got, attempts) {
		s.t.Errorf("attempts %q, want %q", got, attempts)
	}
	if got := s.texts("select state || ' ' || attempts from webhook_deliveries order by 1"); !slices.Equal(got, deliveries) {
		s.t.Errorf("deliveries %q, want %q", got, deliveries)
	}
}

func TestAThousandEventsReachAReceiverThatFailsEveryThirdTime(t *testing.T) {
	t.Parallel()
	s := shop(t)
	r := receive(t, func(number int64) does {
		if number%3 == 2 {
			return says(500)
		}
		return says(200)
	})
	_, secret := s.endpoint("http://" + r.addr + "/hooks?x=1")
	s.happen(1000)
	s.drainDeliveries()

	bodies := map[string]string{}
	for _, g := range r.requests() {
		g.check(t, secret)
		var event struct {
			ID   string
			Data struct{ Object map[string]int }
		}
		if err := json.Unmarshal([]byte(g.body), &event); err != nil || event.ID != g.id() || event.Data.Object["n"] == 0 {
			t.Errorf("%s: %v", g.body, err)
		}
		if g.path != "/hooks?x=1" || g.header.Get("User-Agent") != "twinpay-webhooks/1" || g.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %v", g.path, g.header)
		}
		if before, ok := bodies[g.id()]; ok && before != g.body {
			t.Errorf("a duplicate with another body: %s, %s", before, g.body)
		}
		bodies[g.id()] = g.body
	}
	sent := len(r.requests())
	if len(bodies) != 1000 || sent <= 1400 || int64(sent) != query[int64](s, "select count(*) from webhook_attempts") {
		t.Errorf("%d events in %d requests", len(bodies), sent)
	}
	if left := query[int64](s, "select count(*) from webhook_deliveries where state <> 'succeeded'"); left != 0 {
		t.Errorf("%d deliveries are left", left)
	}
}

func TestAnEndpointThatIsGoneGetsNothingAnyMore(t *testing.T) {
	t.Parallel()
	s := shop(t)
	r := receive(t, always(says(410)))
	s.endpoint("http://" + r.addr)
	s.happen(1)
	s.drainDeliveries()
	s.happen(1)
	s.drainDeliveries()
	s.attempted([]string{"410 status", "disabled"}, []string{"failed 1", "failed 1"})
	listed := s.must(200, s.send("GET", "/v1/webhook_endpoints", "", "Authorization", "Bearer "+s.key))
	if came := r.came.Load(); came != 1 || !strings.Contains(listed.body, `,"disabled_at":"`) {
		t.Errorf("%d requests came; %s", came, listed.body)
	}
}

func TestARedirectIsAFailureAndNobodyFollowsIt(t *testing.T) {
	t.Parallel()
	s := shop(t)
	elsewhere := receive(t, always(says(200)))
	r := receive(t, always(answers("302 x\r\ncontent-length: 0\r\nlocation: http://"+elsewhere.addr+"/", "")))
	s.endpoint("http://" + r.addr)
	s.happen(1)
	s.deliver(1)
	s.attempted([]string{"302 status"}, []string{"pending 1"})
	if came := elsewhere.came.Load(); came != 0 {
		t.Error("somebody followed")
	}
}

func TestWhatAReceiverDoesWithItsAnswerIsBoundedAndTold(t *testing.T) {
	t.Parallel()
	const promised = "200 x\r\ncontent-length: 1000"
	for _, c := range []struct {
		name           string
		do             does
		attempt, state string
		timeout        time.Duration
	}{
		{"hangs", hangs(func(net.Conn) {}), "timeout", "pending 1", 200 * time.Millisecond},
		{"drips", hangs(answers(promised, "x")), "200 timeout", "pending 1", 200 * time.Millisecond},
		{"breaks", answers(promised, "x"), "200 body", "pending 1", 0},
		{"floods", endless, "200", "succeeded 1", 0},
		{"says nothing more", says(204), "204", "succeeded 1", 0},
	} {
		s := shop(t)
		if c.timeout != 0 {
			s.app.Workers.Delivery.Receiver.Timeout = c.timeout
		}
		r := receive(t, always(c.do))
		s.endpoint("http://" + r.addr)
		s.happen(1)
		s.deliver(1)
		t.Log(c.name)
		s.attempted([]string{c.attempt}, []string{c.state})
	}
}

func TestAReceiverThatIsntThereOrSpeaksNoTLSIsTold(t *testing.T) {
	t.Parallel()
	s := shop(t)
	plain := receive(t, always(says(200)))
	s.endpoint("http://127.0.0.1:1/")
	s.endpoint("https://" + plain.addr + "/")
	s.happen(1)
	s.deliver(2)
	s.attempted([]string{"connect", "tls"}, []string{"pending 1", "pending 1"})
	if len(plain.requests()) != 0 {
		t.Error("it was sent without TLS")
	}
}

func TestACertificateIsCheckedAgainstTheRootsAndTheName(t *testing.T) {
	t.Parallel()
	s := shop(t)
	var came atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { came.Add(1) }))
	defer server.Close()
	port := server.Listener.Addr().(*net.TCPAddr).Port
	s.app.Workers.Delivery.Receiver.LookUp = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	s.endpoint(fmt.Sprintf("https://example.com:%d/", port)) // which httptest's certificate names
	s.happen(1)
	s.deliver(1)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	s.app.Workers.Delivery.Receiver.TLS = &tls.Config{RootCAs: roots}
	s.endpoint(fmt.Sprintf("https://other.test:%d/", port))
	s.happen(1)
	s.advance(time.Second)
	s.deliver(4)
	s.attempted([]string{"tls", "200", "200", "tls", "tls"}, []string{"pending 1", "pending 1", "succeeded 1", "succeeded 2"})
	if came.Load() != 2 {
		t.Errorf("%d requests came", came.Load())
	}
}

func TestASilentReceiverHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	s := shop(t)
	release := make(chan struct{})
	silent := receive(t, always(func(net.Conn) { <-release }))
	s.endpoint("http://" + silent.addr)
	s.happen(30)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	s.app.Workers.Delivery.Receiver.Timeout = 10 * time.Minute
	go func() {
		defer close(ended)
		s.app.Workers.Delivery.Run(ctx)
	}()
	for range 5 {
		<-silent.each
	}
	s.execute("delete from webhook_deliveries where lease_token = 0")
	good := receive(t, always(says(200)))
	s.endpoint("http://" + good.addr)
	s.happen(3)
	for range 3 {
		<-good.each
	}
	if came := silent.came.Load(); came >= 10 {
		t.Errorf("one endpoint has %d places", came)
	}
	stop()
	close(release)
	<-ended
}

func TestNoPrivateAddressIsDialledForAPublicTarget(t *testing.T) {
	t.Parallel()
	s := shop(t, "WEBHOOK_TARGETS", "public")
	r := receive(t, always(says(200)))
	_, port, _ := strings.Cut(r.addr, ":")
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"} {
		s.endpoint("https://" + host + ":" + port + "/")
	}
	s.happen(1)
	s.deliver(5)
	refused, pending := "refused_address", "pending 1"
	s.attempted([]string{refused, refused, refused, refused, refused}, []string{pending, pending, pending, pending, pending})
	if came := r.came.Load(); came != 0 {
		t.Errorf("%d connections", came)
	}
}

func TestANameThatChangesItsAddressIsLookedAtWhenItIsDialled(t *testing.T) {
	t.Parallel()
	s := shop(t)
	r := receive(t, always(says(200)))
	_, port, _ := strings.Cut(r.addr, ":")
	s.endpoint("http://rebinding.example:" + port + "/")
	// Here 127.0.0.2 is public, where nobody listens, and all else private.
	public, private := netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")
	asked := 0
	s.app.Workers.Delivery.Receiver.Allow = func(address netip.Addr) bool { return address == public }
	s.app.Workers.Delivery.Receiver.LookUp = func(_ context.Context, host string) ([]netip.Addr, error) {
		if asked++; asked == 1 && host == "rebinding.example" {
			return []netip.Addr{public}, nil
		}
		return []netip.Addr{private}, nil
	}
	s.happen(1)
	s.deliver(1)
	if asked != 1 {
		t.Errorf("an attempt asks %d times", asked)
	}
	s.advance(10 * time.Millisecond)
	s.deliver(1)
	s.attempted([]string{"connect", "refused_address"}, []string{"pending 2"})
	if came := r.came.Load(); came != 0 {
		t.Errorf("%d connections", came)
	}
}

func TestWhatWasSentAndNotRecordedIsSentAgainUnderTheSameID(t *testing.T) {
	t.Parallel()
	s := shop(t)
	r := receive(t, func(number int64) does {
		if number == 0 {
			// As a crash would: what the first attempt came to is never recorded.
			return func(c net.Conn) {
				s.execute("update webhook_deliveries set lease_token = lease_token + 1")
				says(200)(c)
			}
		}
		return says(200)
	})
	_, secret := s.endpoint("http://" + r.addr)
	s.happen(1)
	s.deliver(1)
	s.attempted(nil, []string{"pending 0"})
	s.deliver(0) // its lease lasts
	s.advance(15 * time.Second)
	s.deliver(1)
	first, second := <-r.each, <-r.each
	second.check(t, secret)
	if first.id() != second.id() || first.body != second.body || first.header.Get("Webhook-Timestamp") == second.header.Get("Webhook-Timestamp") {
		t.Errorf("%v, then %v", first, second)
	}
	s.attempted([]string{"200"}, []string{"succeeded 1"})
}

func TestADeliveryIsGivenUpAfterEightAttemptsEachRecorded(t *testing.T) {
	t.Parallel()
	s := shop(t)
	r := receive(t, always(says(503)))
	s.endpoint("http://" + r.addr)
	s.happen(1)
	for range 8 {
		s.deliver(1)
		s.advance(time.Second)
	}
	s.deliver(0)
	failed := "503 status"
	s.attempted([]string{failed, failed, failed, failed, failed, failed, failed, failed}, []string{"failed 8"})
	if came := r.came.Load(); came != 8 {
		t.Errorf("%d requests came", came)
	}
}

func TestARetryWaitsNoLongerThanItsBound(t *testing.T) {
	t.Parallel()
	s := shop(t, "WEBHOOK_RETRY_MS", "60000")
	r := receive(t, always(says(503)))
	s.endpoint("http://" + r.addr)
	s.happen(200)
	for range 10 {
		s.deliver(20)
	}
	const wait = `select extract(epoch from %s(next_attempt_at - attempted_at))::float8
		from webhook_deliveries d join webhook_attempts a on a.delivery_id = d.id and a.attempt = d.attempts where d.attempts = 1`
	longest, soonest := query[float64](s, fmt.Sprintf(wait, "max")), query[float64](s, fmt.Sprintf(wait, "min"))
	if longest < 30 || longest > 60 || soonest < 0 || soonest > 30 {
		t.Errorf("%v to %v s", soonest, longest)
	}
}

func TestADeletedEndpointGetsNothingAnyMore(t *testing.T) {
	t.Parallel()
	s := shop(t)
	r := receive(t, always(says(500)))
	id, _ := s.endpoint("http://" + r.addr)
	s.happen(2)
	s.deliver(2)
	if deleted := s.must(204, s.send("DELETE", "/v1/webhook_endpoints/"+id, "", "Authorization", "Bearer "+s.key)); deleted.body != "" {
		t.Errorf("a body: %s", deleted.body)
	}
	s.advance(10 * time.Second)
	s.deliver(0)
	if came := r.came.Load(); came != 2 || query[int64](s, "select count(*) from webhook_attempts") != 0 {
		t.Errorf("%d requests came", came)
	}
}
