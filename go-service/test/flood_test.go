package test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statusv1 "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	paymentsv1 "twinpay.dev/payments/internal/gen/payments/v1"
)

const (
	floodBytes  = 16 << 20 // of one flood, if nothing ends it
	floodMemory = 8 << 20  // what it may cost: far more than a connection's buffers, far less than the flood
)

// callHead is `POST http /`, as indices of HPACK's static table.
var callHead = []byte{0x83, 0x86, 0x84}

// openHTTP2 is a connection that has said what it must.
func openHTTP2(t *testing.T, to string) (net.Conn, *http2.Framer) {
	t.Helper()
	conn, err := net.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	framer := http2.NewFramer(conn, conn)
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return conn, framer
}

// floods write about 64 KiB, the nth time.
var floods = map[string]func(f *http2.Framer, n int){
	"resets": func(f *http2.Framer, n int) {
		for i := range 2000 {
			stream := uint32((n*2000+i)*2 + 1)
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: callHead, EndHeaders: true})
			_ = f.WriteRSTStream(stream, http2.ErrCodeCancel)
		}
	},
	"continuations": func(f *http2.Framer, n int) {
		if n == 0 {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: callHead})
		}
		for range 4 {
			_ = f.WriteContinuation(1, false, bytes.Repeat([]byte{0, 1, 'a', 1, 'b'}, 3200))
		}
	},
	"pings": func(f *http2.Framer, _ int) {
		for range 3800 {
			_ = f.WritePing(false, [8]byte{7})
		}
	},
	"settings": func(f *http2.Framer, _ int) {
		for range 7000 {
			_ = f.WriteSettings()
		}
	},
}

// flood sends it to its end, or until the server ends it. It reports the GOAWAY's code, if one came, and whether the server ended it.
func flood(t *testing.T, part func(*http2.Framer, int), to string, reads bool) (code http2.ErrCode, ended bool) {
	conn, from := openHTTP2(t, to)
	read := make(chan http2.ErrCode, 1)
	go func() {
		var told http2.ErrCode
		for reads {
			frame, err := from.ReadFrame()
			if err != nil {
				break
			}
			if away, ok := frame.(*http2.GoAwayFrame); ok {
				told = away.ErrCode
			}
		}
		read <- told
	}()
	for sent, n := 0, 0; sent < floodBytes && !ended; n++ {
		var buffer bytes.Buffer
		part(http2.NewFramer(&buffer, nil), n)
		// A server that reads no more has stopped the flood as well as one that hangs up.
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		written, err := conn.Write(buffer.Bytes())
		sent, ended = sent+written, err != nil
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	if reads {
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		code = <-read
	}
	_ = conn.Close()
	return code, ended
}

// resident is the memory of the program, in bytes, without the pages of its own file: those come as code runs for the first time.
func (p *program) resident() int {
	p.t.Helper()
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.process.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	var size, all, ofFiles int
	if _, err := fmt.Sscan(string(statm), &size, &all, &ofFiles); err != nil {
		p.t.Fatal(err)
	}
	return (all - ofFiles) * os.Getpagesize()
}

// isServed checks that another connection is.
func isServed(t *testing.T, to string) {
	t.Helper()
	_, framer := openHTTP2(t, to)
	if err := framer.WritePing(false, [8]byte{1}); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if ping, ok := frame.(*http2.PingFrame); ok && ping.IsAck() {
			return
		}
	}
}

// use makes ordinary calls, as many at once as a connection may: the garbage that the collector leaves after any load is then there.
func use(t *testing.T, to string) {
	t.Helper()
	conn, framer := openHTTP2(t, to)
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if err := framer.WriteWindowUpdate(0, 1<<30); err != nil {
		t.Fatal(err)
	}
	for round := range uint32(200) {
		for n := range uint32(maxStreams) {
			head := http2.HeadersFrameParam{StreamID: (round*maxStreams+n)*2 + 1, BlockFragment: callHead, EndHeaders: true, EndStream: true}
			if err := framer.WriteHeaders(head); err != nil {
				t.Fatal(err)
			}
		}
		for ended := 0; ended < maxStreams; {
			frame, err := framer.ReadFrame()
			if err != nil {
				t.Fatalf("%s, round %d, after %d calls: %v", to, round, ended, err)
			}
			_, reset := frame.(*http2.RSTStreamFrame)
			last, isLast := frame.(interface{ StreamEnded() bool })
			if reset || isLast && last.StreamEnded() {
				ended++
			}
		}
	}
	_ = conn.Close()
}

func TestAFloodEndsInGoAwayOrCostsABoundedMemory(t *testing.T) {
	t.Parallel()
	p := startProgram(t, settings{})
	go func() {
		for p.stdout.Scan() { // a pipe that nobody reads would stop it
		}
	}()
	for _, door := range []string{p.app.HTTPAddr, p.app.GRPCAddr} {
		fresh := p.resident()
		use(t, door)
		t.Logf("ordinary calls on %s: %d KiB more", door, (p.resident()-fresh)>>10)
		for name, part := range floods {
			for _, reads := range []bool{true, false} {
				before := p.resident()
				code, ended := flood(t, part, door, reads)
				grown := p.resident() - before
				t.Logf("%s on %s, answers read %v: %v, ended %v, %d KiB more", name, door, reads, code, ended, grown>>10)
				if grown > floodMemory {
					t.Errorf("%s on %s, answers read %v: %d bytes more", name, door, reads, grown)
				}
				isServed(t, door)
				if name == "continuations" && !ended {
					t.Errorf("%s on %s: taken to its end", name, door)
				}
			}
		}
	}
}

func TestAConnectionIsToldItsLimitsAndHeldToThem(t *testing.T) {
	t.Parallel()
	p := startProgram(t, settings{})
	for _, door := range []struct {
		addr, path, content string
		headers             uint32 // net/http adds an allowance for ten members
	}{
		{p.app.HTTPAddr, "/v1/merchants", "application/json", 16<<10 + 320},
		{p.app.GRPCAddr, "/payments.v1.AdminService/CreateMerchant", "application/grpc", 16 << 10},
	} {
		_, framer := openHTTP2(t, door.addr)
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		limits, ok := frame.(*http2.SettingsFrame)
		if !ok {
			t.Fatalf("the first frame is %v", frame)
		}
		if streams, _ := limits.Value(http2.SettingMaxConcurrentStreams); streams != maxStreams {
			t.Errorf("%d streams on %s", streams, door.addr)
		}
		if size, _ := limits.Value(http2.SettingMaxHeaderListSize); size != door.headers {
			t.Errorf("%d bytes of headers on %s", size, door.addr)
		}
		// :authority, :path, content-type, authorization; a body that never comes keeps the stream open.
		head := slices.Concat(callHead[:2], literal("\x01", "x"), literal("\x04", door.path), literal("\x0f\x10", door.content),
			literal("\x0f\x08", "Bearer "+adminToken))
		for n := range uint32(maxStreams + 1) {
			if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*n + 1, BlockFragment: head, EndHeaders: true}); err != nil {
				t.Fatal(err)
			}
		}
		for refused := false; !refused; {
			frame, err := framer.ReadFrame()
			if err != nil {
				t.Fatalf("%s: %v", door.addr, err)
			}
			if reset, ok := frame.(*http2.RSTStreamFrame); ok && reset.StreamID == 2*maxStreams+1 {
				refused = true
				if reset.ErrCode != http2.ErrCodeRefusedStream {
					t.Errorf("%s: %v", door.addr, reset.ErrCode)
				}
			}
		}
	}
}

const maxStreams = 100

// literal is a header of HPACK whose name stands in the static table.
func literal(name, value string) []byte {
	return slices.Concat([]byte(name), []byte{byte(len(value))}, []byte(value))
}

const (
	createMerchant = paymentsv1.AdminService_CreateMerchant_FullMethodName
	watchEvents    = paymentsv1.EventService_WatchEvents_FullMethodName
	reflectionInfo = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
)

var (
	// called are those whose clients send one message.
	called = []string{createMerchant, watchEvents, "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"}
	// parts are nothing, half a prefix, half a message, a message without the end of its stream.
	parts = []string{"", "\x00\x00", "\x00\x00\x00\x00\x02\x0a", "\x00\x00\x00\x00\x00"}
)

// caller makes calls on one connection, frame by frame.
type caller struct {
	t      *testing.T
	framer *http2.Framer
	last   uint32             // stream
	ended  map[uint32]outcome // of the calls whose stream is
}

// outcome is how a call ended.
type outcome struct {
	told *status.Status
	free bool // though its client hasn't ended it
}

func newCaller(t *testing.T, to string) *caller {
	conn, framer := openHTTP2(t, to)
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second)) // for a service that doesn't answer
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	return &caller{t, framer, 1, map[uint32]outcome{}}
}

// begin begins a call and sends so much of its message. The headers are as in HPACK.
func (c *caller) begin(method, part string, headers ...[]byte) uint32 {
	c.t.Helper()
	c.last += 2
	head := slices.Concat(callHead[:2], literal("\x01", "x"), literal("\x04", method), literal("\x0f\x10", "application/grpc"), slices.Concat(headers...))
	if err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.last, BlockFragment: head, EndHeaders: true}); err != nil {
		c.t.Fatal(err)
	}
	if part != "" {
		c.send(c.last, part, false)
	}
	return c.last
}

func (c *caller) send(stream uint32, part string, end bool) {
	c.t.Helper()
	if err := c.framer.WriteData(stream, end, []byte(part)); err != nil {
		c.t.Fatal(err)
	}
}

// await reads until a call has ended as it must: free says that the service freed its place, since its client didn't.
func (c *caller) await(stream uint32, free bool) *status.Status {
	c.t.Helper()
	for c.ended[stream].told == nil || c.ended[stream].free != free {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			c.t.Fatalf("stream %d has %+v: %v", stream, c.ended[stream], err)
		}
		ended := c.ended[frame.Header().StreamID]
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if frame.StreamEnded() {
				ended.told = statusIn(c.t, frame)
			}
		case *http2.RSTStreamFrame:
			if ended.free = frame.ErrCode == http2.ErrCodeNo; !ended.free {
				c.t.Fatalf("stream %d was reset: %v", frame.StreamID, frame.ErrCode)
			}
		}
		c.ended[frame.Header().StreamID] = ended
	}
	return c.ended[stream].told
}

// statusIn is the status in trailers, with its details.
func statusIn(t *testing.T, trailers *http2.MetaHeadersFrame) *status.Status {
	t.Helper()
	told := &statusv1.Status{}
	for _, field := range trailers.Fields {
		switch field.Name {
		case "grpc-status":
			code, err := strconv.Atoi(field.Value)
			if err != nil {
				t.Fatal(err)
			}
			told.Code = int32(code)
		case "grpc-status-details-bin":
			details, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(field.Value, "="))
			if err == nil {
				err = proto.Unmarshal(details, told)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return status.FromProto(told)
}

// givenUp checks that calls are ended though their client hasn't, which frees their places.
func (c *caller) givenUp(stream uint32, reason, what string) {
	c.t.Helper()
	told := c.await(stream, true)
	info := &errdetails.ErrorInfo{}
	for _, detail := range told.Details() {
		if found, ok := detail.(*errdetails.ErrorInfo); ok {
			info = found
		}
	}
	if told.Code() != codes.DeadlineExceeded || info.GetReason() != reason {
		c.t.Errorf("%s: got %v, want %s", what, told.Proto(), reason)
	}
}

func TestACallWhoseMessageIsWithheldIsEndedAndItsPlaceIsFreeAgain(t *testing.T) {
	t.Parallel()
	s := start(t, settings{env: map[string]string{"BODY_TIMEOUT_MS": "300"}})
	c := newCaller(t, s.app.GRPCAddr)
	open := c.begin(reflectionInfo, "") // its client may ask when it likes
	for range 2 {
		var streams []uint32
		for n := range maxStreams - 1 {
			streams = append(streams, c.begin(called[n%4], parts[n/4%4]))
		}
		for n, stream := range streams {
			c.givenUp(stream, "REQUEST_TIMEOUT", fmt.Sprintf("%q of %s", parts[n/4%4], called[n%4]))
		}
	}
	c.send(open, "\x00\x00\x00\x00\x02\x3a\x00", true)
	whole := c.begin(createMerchant, "", literal("\x0f\x08", "Bearer "+adminToken))
	c.send(whole, "\x00\x00\x00\x00\x03\x0a\x01a", true)
	for _, stream := range []uint32{open, whole} {
		if told := c.await(stream, false); told.Code() != codes.OK {
			t.Errorf("got %v", told.Proto())
		}
	}
	metrics := s.get("http://" + s.app.AdminAddr + "/metrics").body
	for _, method := range []string{createMerchant, watchEvents} {
		counted := 0
		for line := range strings.Lines(metrics) {
			if strings.HasPrefix(line, "rpc_server_call_duration_seconds_count{") && contains(line, `rpc_method="`+method[1:]+`"`) &&
				contains(line, `error_type="REQUEST_TIMEOUT"`) && contains(line, `rpc_response_status_code="DEADLINE_EXCEEDED"`) && strings.HasSuffix(line, "} 50\n") {
				counted++
			}
		}
		if counted != 1 {
			t.Errorf("%d of %s in %s", counted, method, metrics)
		}
	}
}

func TestADeadlineThatPassesWhileTheMessageIsWithheldIsToldAsSuch(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	c := newCaller(t, s.app.GRPCAddr)
	streams := map[uint32]string{}
	for _, method := range called {
		for _, part := range parts {
			stream := c.begin(method, part, []byte("\x00\x0cgrpc-timeout\x021S"))
			streams[stream] = fmt.Sprintf("%q of %s", part, method)
		}
	}
	for stream, what := range streams {
		c.givenUp(stream, "DEADLINE_EXCEEDED", what)
	}
}
