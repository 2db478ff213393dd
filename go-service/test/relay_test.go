package test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"twinpay.dev/payments/internal/store"
	"twinpay.dev/payments/internal/telemetry"
	"twinpay.dev/payments/internal/workers"
)

// outOfOrder counts the pairs of one payment's events that are told in another order than they happened in.
const outOfOrder = `select count(*) from events a
	join operations oa on oa.merchant_id = a.merchant_id and oa.id = a.operation_id
	join operations ob on ob.merchant_id = oa.merchant_id and ob.payment_id = oa.payment_id
	join events b on b.merchant_id = ob.merchant_id and b.operation_id = ob.id and b.sequence > a.sequence
	where oa.created_at > ob.created_at
		or oa.id = ob.id and array_position(array['payment.created', 'payment.authorized', 'payment.captured'], a.type)
			> array_position(array['payment.created', 'payment.authorized', 'payment.captured'], b.type)`

// relay is a further one, with a connection of its own.
func (s *service) relay(now func() time.Time) *workers.Relay {
	s.t.Helper()
	t, err := telemetry.New(s.t.Context(), "", slog.LevelError, io.Discard)
	if err != nil {
		s.t.Fatal(err)
	}
	db, err := store.Open("relay", s.database.Service, 1, 5*time.Second, t)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(db.Close)
	return workers.NewRelay(db, now, t)
}

// hurried is a clock at whose every look a lease is over.
func hurried() func() time.Time {
	var looks atomic.Int64
	return func() time.Time { return time.Now().Add(time.Duration(looks.Add(1)) * 6 * time.Second) }
}

// happened puts that many events of one merchant into the outbox.
func (s *service) happened(count int) {
	s.t.Helper()
	s.execute(`insert into outbox (merchant_id, id, type, data, created_at)
		select '018f0000-0000-7000-8000-000000000001', gen_random_uuid(), 'payment.created', n::text, now() from generate_series(1, $1::int) n`, count)
}

// published makes one step, and checks how many events it published.
func (s *service) published(r *workers.Relay, want int64) {
	s.t.Helper()
	if got, err := r.Step(s.t.Context()); err != nil || got != want {
		s.t.Fatalf("the relay published %d, %v; want %d", got, err, want)
	}
}

// told checks how many events wait and how many are published, and that their sequences have no gap.
func (s *service) told(outbox, events int64) {
	s.t.Helper()
	if waiting, published := query[int64](s, "select count(*) from outbox"), query[int64](s, "select count(*) from events"); waiting != outbox || published != events {
		s.t.Errorf("%d events wait and %d are published, want %d and %d", waiting, published, outbox, events)
	}
	const gaps = `select count(*) from (select s.last, count(e.sequence) as number, min(e.sequence) as first, max(e.sequence) as newest
		from event_sequences s left join events e using (merchant_id) group by s.merchant_id, s.last) as all_sequences
		where first <> 1 or newest <> number or newest <> last`
	if got := query[int64](s, gaps); got != 0 {
		s.t.Errorf("%d merchants' sequences have gaps", got)
	}
}

func TestTwoRelaysThatTakeTurnsNumberEveryEventOnceAndInOrder(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	ctx, stop := context.WithCancel(t.Context())
	clock := hurried()
	var published [2]int64
	var relaying, paying sync.WaitGroup
	for i := range published {
		relay := s.relay(clock)
		relaying.Go(func() {
			for {
				last := ctx.Err() != nil
				step, err := relay.Step(t.Context())
				published[i] += step
				if err != nil || last && step == 0 {
					if err != nil {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	token := s.token(goodCard)
	for n := range 40 {
		paying.Go(func() {
			id := s.must(201, s.post(fmt.Sprint(n), "/v1/payments", paymentBody(token, "manual", fmt.Sprint(n)))).member("id")
			for _, amount := range []int{300, 200} {
				key, body := fmt.Sprint(n, "-", amount), fmt.Sprintf(`{"amount":%d,"final":false}`, amount)
				s.must(200, s.post(key, "/v1/payments/"+id+"/capture", body))
			}
			sale := fmt.Sprint("sale-", n)
			s.must(201, s.post(sale, "/v1/payments", paymentBody(token, "automatic", sale)))
		})
	}
	paying.Wait()
	stop()
	relaying.Wait()
	changes := query[int64](s, "select token from leases")
	if published[0] == 0 || published[1] == 0 || changes < 4 || published[0]+published[1] != 280 {
		t.Errorf("%d and %d published, with %d changes", published[0], published[1], changes)
	}
	s.told(0, 280)
	if got := query[int64](s, outOfOrder); got != 0 {
		t.Errorf("%d pairs out of order", got)
	}
}

func TestARelayThatIsCutOffInTheMiddleHasPublishedNothing(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	cutOff := s.relay(time.Now)
	s.happened(1)
	s.published(cutOff, 1)
	s.happened(300)
	owner, err := pgx.Connect(t.Context(), s.database.Owner)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(context.Background())
	if _, err := owner.Exec(t.Context(), "begin; update event_sequences set last = last"); err != nil {
		t.Fatal(err)
	}
	stepped := make(chan error)
	go func() { _, err := cutOff.Step(t.Context()); stepped <- err }()
	const waits = "select coalesce(max(pid), 0) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
	var pid int32
	for pid == 0 {
		pid = query[int32](s, waits)
	}
	s.execute("select pg_terminate_backend($1)", pid)
	if err := <-stepped; err == nil {
		t.Error("the step that was cut off says that it was done")
	}
	if _, err := owner.Exec(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}
	s.told(300, 1)
	s.published(s.relay(time.Now), 0) // the lease isn't over
	later := s.relay(hurried())
	s.published(later, 200)
	s.published(later, 100)
	s.told(0, 301)
}

func TestAnotherRelayLeadsWhenTheLeaseIsOverOrHandedOver(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	one, other := s.relay(time.Now), s.relay(time.Now)
	s.happened(1)
	s.published(one, 1)
	s.happened(1)
	s.published(other, 0)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	one.Run(stopped)
	s.happened(1)
	s.told(1, 2) // what was there at the hand-over was published with it
	s.published(other, 1)
	other.Run(stopped)
	s.happened(1)
	s.published(one, 1) // though nothing waited when it was handed over
	s.happened(1)
	s.published(s.relay(hurried()), 1)
	s.told(0, 5)
}

func TestALongOutboxIsPublishedInBatchesAndInItsOrder(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	s.happened(450)
	for _, want := range []int64{200, 200, 50, 0} {
		s.published(s.app.Workers.Relay, want)
	}
	s.told(0, 450)
	if got := query[int64](s, "select count(*) from events where sequence::text = data"); got != 450 {
		t.Errorf("%d of 450 have their place", got)
	}
}
