package test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
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

// resident is the memory of the program, in bytes.
func (p *program) resident() int {
	p.t.Helper()
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.process.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		p.t.Fatal(err)
	}
	return pages * os.Getpagesize()
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

func TestAFloodEndsInGoAwayOrCostsABoundedMemory(t *testing.T) {
	t.Parallel()
	p := startProgram(t, settings{})
	go func() {
		for p.stdout.Scan() { // a pipe that nobody reads would stop it
		}
	}()
	for _, door := range []string{p.app.HTTPAddr, p.app.GRPCAddr} {
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
