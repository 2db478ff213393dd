package test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	paymentsv1 "twinpay.dev/payments/internal/gen/payments/v1"
)

// sse is a stream over HTTP, block by block.
type sse struct {
	t    *testing.T
	body io.ReadCloser
	read *bufio.Reader
}

// watching is the answer to a request for a stream.
func (s *service) watching(query string, headers ...string) *http.Response {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.app.HTTPAddr+"/v1/events/stream"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.key)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

// sse opens a stream, which begins with a heartbeat.
func (s *service) sse(query string, headers ...string) *sse {
	s.t.Helper()
	response := s.watching(query, headers...)
	if kind := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || kind != "text/event-stream" {
		s.t.Fatalf("got %d %s", response.StatusCode, kind)
	}
	stream := &sse{s.t, response.Body, bufio.NewReader(response.Body)}
	if got, err := stream.block(); got != ": heartbeat" {
		s.t.Fatalf("it begins with %q, %v", got, err)
	}
	return stream
}

func (s *sse) block() (string, error) {
	var block strings.Builder
	for {
		line, err := s.read.ReadString('\n')
		if err != nil {
			return block.String(), err
		}
		if line == "\n" {
			return strings.TrimSuffix(block.String(), "\n"), nil
		}
		block.WriteString(line)
	}
}

type told struct {
	ID       string
	Type     string
	Sequence int64
	Data     struct{ Object json.RawMessage }
}

// event is the next event, whose id and type are those of its data.
func (s *sse) event() (event told) {
	s.t.Helper()
	block, err := s.block()
	lines := strings.Split(block, "\n")
	if err != nil || len(lines) != 3 {
		s.t.Fatalf("got %q, %v", block, err)
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(lines[2], "data: ")), &event); err != nil {
		s.t.Fatalf("%s: %v", lines[2], err)
	}
	if lines[0] != fmt.Sprint("id: ", event.Sequence) || lines[1] != "event: "+event.Type {
		s.t.Fatalf("got %q", block)
	}
	return event
}

type grpcStream = grpc.ServerStreamingClient[paymentsv1.WatchEventsResponse]

// watch opens a stream over gRPC, and reports how its first item came.
func (s *service) watch(after *int64) (grpcStream, error) {
	s.t.Helper()
	ctx := metadata.AppendToOutgoingContext(s.t.Context(), "authorization", "Bearer "+s.key)
	stream, err := paymentsv1.NewEventServiceClient(s.grpc).WatchEvents(ctx, &paymentsv1.WatchEventsRequest{AfterSequence: after})
	if err != nil {
		s.t.Fatal(err)
	}
	first, err := stream.Recv()
	if err == nil && first.GetHeartbeat() == nil {
		s.t.Fatalf("it begins with %v", first)
	}
	return stream, err
}

// mustWatch is for a stream that opens.
func (s *service) mustWatch(after *int64) grpcStream {
	s.t.Helper()
	stream, err := s.watch(after)
	if err != nil {
		s.t.Fatal(err)
	}
	return stream
}

func nextEvent(t *testing.T, stream grpcStream) *paymentsv1.Event {
	t.Helper()
	message, err := stream.Recv()
	if err != nil || message.GetEvent() == nil {
		t.Fatalf("got %v, %v", message, err)
	}
	return message.GetEvent()
}

// sold makes a sale and publishes its three events.
func (s *service) sold(token, key string) reply {
	s.t.Helper()
	answer := s.must(201, s.post(key, "/v1/payments", paymentBody(token, "automatic", key)))
	s.published(s.app.Workers.Relay, 3)
	return answer
}

// grow publishes that many further events of the only merchant, each with a description of so many bytes.
func (s *service) grow(count, size int) {
	s.t.Helper()
	s.execute(`insert into outbox (merchant_id, id, type, data, created_at)
		select merchant_id, gen_random_uuid(), 'payment.captured', replace(data, '"state"', '"description":"' || repeat('x', $2::int) || '","state"'), created_at
		from events cross join generate_series(1, $1::int) where sequence = 1`, count, size)
	for {
		published, err := s.app.Workers.Relay.Step(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		if published == 0 {
			return
		}
	}
}

// waking runs the waker of a service whose workers are still.
func (s *service) waking() {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.app.Workers.Waker.Run(ctx) }()
	s.t.Cleanup(func() { stop(); <-ended })
}

func TestAStreamTellsWhatIsPublishedFromItsFirstHeartbeatOn(t *testing.T) {
	t.Parallel()
	s := start(t, settings{env: map[string]string{"STREAM_HEARTBEAT_MS": "60000"}})
	s.waking()
	token := s.token(goodCard)
	s.sold(token, "before")
	http, over := s.sse(""), s.mustWatch(nil)
	key := s.key
	s.addMerchant()
	s.sold(s.token(goodCard), "another-merchants")
	s.key = key
	sold := s.sold(token, "k")
	for i, want := range []string{"payment.created", "payment.authorized", "payment.captured"} {
		event, message := http.event(), nextEvent(t, over)
		if event.Sequence != int64(i+4) || event.Type != want || i > 0 && string(event.Data.Object) != sold.body {
			t.Errorf("got %+v, want %d %s of %s", event, i+4, want, sold.body)
		}
		if message.GetSequence() != event.Sequence || message.GetType() != want || message.GetId() != event.ID || message.GetPayment().GetId() != sold.member("id") {
			t.Errorf("got %v over gRPC", message)
		}
	}
}

func TestAStreamThatWasCutAndIsResumedMissesAndDoublesNothingOnAnyInstanceAndDoor(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	other := launch(t, settings{database: s.database})
	other.awaitReady()
	other.key = s.key
	s.waking()
	other.waking()
	token := s.token(goodCard)
	s.sold(token, "1")
	s.sold(token, "2")
	var seen []int64
	first := s.sse("?after_sequence=0")
	for range 2 {
		seen = append(seen, first.event().Sequence)
	}
	_ = first.body.Close()
	s.sold(token, "while-it-was-cut")
	over := other.mustWatch(&seen[1])
	for range 5 {
		seen = append(seen, nextEvent(t, over).GetSequence())
	}
	s.sold(token, "while-it-was-cut-again")
	last := other.sse("?after_sequence=1", "Last-Event-ID", strconv.FormatInt(seen[6], 10))
	s.sold(token, "while-it-lasts")
	for len(seen) < 15 {
		seen = append(seen, last.event().Sequence)
	}
	for i, sequence := range seen {
		if sequence != int64(i+1) {
			t.Fatalf("got %v", seen)
		}
	}
}

func TestALongPastIsToldWholeAndInOrder(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	s.sold(s.token(goodCard), "k")
	s.grow(300, 0)
	http, over := s.sse("?after_sequence=0"), s.mustWatch(proto.Int64(0))
	for want := range int64(303) {
		if one, other := http.event().Sequence, nextEvent(t, over).GetSequence(); one != want+1 || other != want+1 {
			t.Fatalf("got %d and %d, want %d", one, other, want+1)
		}
	}
}

func TestHeartbeatsFillTheSilenceAndFindWhatNoNoticeTold(t *testing.T) {
	t.Parallel()
	s := start(t, settings{env: map[string]string{"STREAM_HEARTBEAT_MS": "20"}})
	http, over := s.sse(""), s.mustWatch(nil)
	for range 2 {
		block, _ := http.block()
		message, err := over.Recv()
		if block != ": heartbeat" || message.GetHeartbeat() == nil {
			t.Fatalf("got %q and %v, %v", block, message, err)
		}
	}
	s.sold(s.token(goodCard), "unheard")
	for block := ": heartbeat"; block == ": heartbeat"; {
		var err error
		if block, err = http.block(); err != nil {
			t.Fatal(err)
		}
	}
	for {
		message, err := over.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if message.GetEvent() != nil {
			return
		}
	}
}

func TestOnlyTheMessageOfAStreamMustComeInABodysTime(t *testing.T) {
	t.Parallel()
	s := start(t, settings{env: map[string]string{"BODY_TIMEOUT_MS": "200", "STREAM_HEARTBEAT_MS": "300"}})
	stream := s.mustWatch(nil)
	for range 2 { // each after a silence that is longer
		if message, err := stream.Recv(); err != nil || message.GetHeartbeat() == nil {
			t.Fatalf("got %v, %v", message, err)
		}
	}
}

func TestNoticesAreHeardAgainWhenTheirConnectionWasLost(t *testing.T) {
	t.Parallel()
	s := start(t, settings{env: map[string]string{"STREAM_HEARTBEAT_MS": "60000"}})
	s.waking()
	stream := s.sse("")
	const listeners = " from pg_stat_activity where datname = current_database() and query ilike 'listen %'"
	for query[int64](s, "select count(pg_terminate_backend(pid))"+listeners) == 0 {
	}
	s.sold(s.token(goodCard), "k")
	if got := stream.event().Sequence; got != 1 {
		t.Errorf("got %d", got)
	}
}

func TestAConsumerThatDoesntReadIsDroppedAndOthersGoOn(t *testing.T) {
	t.Parallel()
	// Long enough that a busy machine doesn't make the one that reads a slow one.
	s := start(t, settings{env: map[string]string{"STREAM_WRITE_MS": "5000", "STREAMS": "3"}})
	s.waking()
	s.sold(s.token(goodCard), "k")
	slow, err := net.Dial("tcp", s.app.HTTPAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, err := fmt.Fprintf(slow, "GET /v1/events/stream?after_sequence=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", s.key); err != nil {
		t.Fatal(err)
	}
	begun := make([]byte, 12)
	if _, err := io.ReadFull(slow, begun); err != nil || string(begun) != "HTTP/1.1 200" {
		t.Fatalf("got %s, %v", begun, err)
	}
	slowGRPC, fast := s.mustWatch(proto.Int64(1)), s.sse("?after_sequence=3")
	var reading sync.WaitGroup
	reading.Go(func() {
		for want := int64(4); want < 404; want++ {
			if got := fast.event().Sequence; got != want {
				t.Errorf("got %d, want %d", got, want)
				return
			}
		}
	})
	for range 8 {
		s.grow(50, 40_000)
	}
	reading.Wait()
	for range 2 { // their places are free again
		for {
			response := s.watching("")
			if response.StatusCode == http.StatusOK {
				break
			}
			_, _ = io.Copy(io.Discard, response.Body) // its connection is for the next
			_ = response.Body.Close()
			if t.Context().Err() != nil {
				t.Fatal("never dropped")
			}
		}
	}
	rest, _ := io.ReadAll(slow) // however it is cut
	if strings.HasSuffix(string(rest), "0\r\n\r\n") {
		t.Error("the body that was cut off has an end")
	}
	for err == nil {
		_, err = slowGRPC.Recv()
	}
	if status.Code(err) != codes.Unavailable || errorInfo(t, err).GetReason() != "OVERLOADED" {
		t.Errorf("over gRPC: %v", err)
	}
}

func TestMoreStreamsThanThereArePlacesForAreShed(t *testing.T) {
	t.Parallel()
	s := start(t, settings{env: map[string]string{"STREAMS": "1"}})
	first := s.sse("")
	if shed := s.watching(""); shed.StatusCode != http.StatusServiceUnavailable || shed.Header.Get("Retry-After") != "1" {
		t.Errorf("got %d %v", shed.StatusCode, shed.Header)
	}
	if _, err := s.watch(nil); status.Code(err) != codes.Unavailable || errorInfo(t, err).GetReason() != "OVERLOADED" {
		t.Errorf("over gRPC: %v", err)
	}
	metrics := s.get("http://" + s.app.AdminAddr + "/metrics").body
	if !slices.ContainsFunc(strings.Split(metrics, "\n"), func(line string) bool {
		return strings.HasPrefix(line, `twinpay_admission_rejected_total{reason="streams"} 2`)
	}) {
		t.Errorf("metrics: %s", metrics)
	}
	_ = first.body.Close()
	for {
		if _, err := s.watch(nil); err == nil {
			return
		}
	}
}

func TestTheDrainEndsStreams(t *testing.T) {
	t.Parallel()
	s := start(t, settings{drain: time.Minute})
	http, over := s.sse(""), s.mustWatch(nil)
	ended := make(chan error)
	go func() { ended <- s.stop() }()
	if block, err := http.block(); block != "" || err != io.EOF {
		t.Errorf("got %q, %v", block, err)
	}
	if _, err := over.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("over gRPC: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
