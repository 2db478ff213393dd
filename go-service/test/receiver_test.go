package test

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// does is what a receiver does with a request.
type does func(net.Conn)

func says(status int) does { return answers(fmt.Sprintf("%d x\r\ncontent-length: 0", status), "") }

// answers with a head and the beginning of a body, and ends the connection.
func answers(head, body string) does {
	return func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 "+head+"\r\n\r\n"+body) }
}

// hangs keeps the connection after what it has said, until the other end goes.
func hangs(before does) does {
	return func(c net.Conn) {
		before(c)
		_, _ = io.Copy(io.Discard, c)
	}
}

// endless sends a body without an end as fast as it goes.
func endless(c net.Conn) {
	answers("200 x\r\ncontent-length: 1000000000000", "")(c)
	for {
		if _, err := io.WriteString(c, strings.Repeat("x", 8192)); err != nil {
			return
		}
	}
}

// got is a request that came.
type got struct {
	path   string
	header http.Header
	body   string
}

func (g got) id() string { return g.header.Get("Webhook-Id") }

// check checks the signature.
func (g got) check(t *testing.T, secret string) {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", g.id(), g.header.Get("Webhook-Timestamp"), g.body)
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); g.header.Get("Webhook-Signature") != want {
		t.Errorf("signature %s, want %s", g.header.Get("Webhook-Signature"), want)
	}
}

// receiving is a receiver of a merchant.
type receiving struct {
	addr string
	came atomic.Int64
	each chan got // of all requests

	mu  sync.Mutex
	all []got
}

// receive listens; do is given the number of the request, from 0.
func receive(t *testing.T, do func(number int64) does) *receiving {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	r := &receiving{addr: listener.Addr().String(), each: make(chan got, 10_000)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			number := r.came.Add(1) - 1
			go r.one(conn, do(number))
		}
	}()
	return r
}

func (r *receiving) one(conn net.Conn, do does) {
	defer conn.Close()
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return // whoever ended it is looked at
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	g := got{request.RequestURI, request.Header, string(body)}
	r.mu.Lock()
	r.all = append(r.all, g)
	r.mu.Unlock()
	r.each <- g
	do(conn)
}

func (r *receiving) requests() []got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all
}

// always is for a receiver that does the same with every request.
func always(do does) func(int64) does { return func(int64) does { return do } }
