package test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// profile is how `go tool pprof` reads an answer: each sample's value is a line of its own.
func profile(t *testing.T, answer reply) string {
	t.Helper()
	if answer.status != 200 {
		t.Fatalf("got %d %s", answer.status, answer.body)
	}
	file := filepath.Join(t.TempDir(), "profile")
	if err := os.WriteFile(file, []byte(answer.body), 0o600); err != nil {
		t.Fatal(err)
	}
	raw, err := exec.Command("go", "tool", "pprof", "-raw", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return string(raw)
}

// asked is a profile of the CPU time that is asked for. The channel gets the reply; it is closed without one where the connection is cut.
func (s *service) asked(seconds int) <-chan reply {
	answer := make(chan reply, 1)
	go func() {
		defer close(answer)
		response, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.app.AdminAddr, seconds))
		if err != nil {
			return
		}
		defer response.Body.Close()
		if body, err := io.ReadAll(response.Body); err == nil {
			answer <- reply{s.t, response.StatusCode, response.Header, string(body)}
		}
	}()
	return answer
}

// Not parallel: a process takes one profile of its CPU time at once.
func TestAProfileNamesWhatTheServiceDoes(t *testing.T) {
	s := start(t, settings{env: map[string]string{"HASH_ITERATIONS": "16384"}})
	taking, tokens := s.asked(1), 0
	for ; len(taking) == 0; tokens++ {
		s.must(201, s.post(fmt.Sprint("k-", tokens), "/v1/payment_tokens", cardBody(goodCard)))
	}
	taken := profile(t, <-taking)
	for _, want := range []string{"samples/count cpu/nanoseconds\n", "hashpool.(*Pool).Run"} {
		if !contains(taken, want) {
			t.Errorf("no %q after %d tokens in %s", want, tokens, taken)
		}
	}
}

func TestAHeapProfileNamesWhatTheServiceAllocates(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	held := strings.Repeat(" ", 48<<10)
	for i := range 200 { // ten MB at a sample per 512 KiB
		s.must(201, s.post(fmt.Sprint("k-", i), "/v1/payment_tokens", cardBody(goodCard)+held))
	}
	runtime.GC() // the profile is that of the last one
	taken := profile(t, s.get("http://"+s.app.AdminAddr+"/debug/pprof/heap"))
	for _, want := range []string{"inuse_space/bytes", "payments/internal/httpapi."} {
		if !contains(taken, want) {
			t.Errorf("no %q in %s", want, taken)
		}
	}
}

func TestAProfileOfABadLengthIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	for _, seconds := range []string{"", "0", "61", "-1", "+1", "1.5", "x", "99999999999999999999"} {
		got := s.get("http://" + s.app.AdminAddr + "/debug/pprof/profile?seconds=" + seconds)
		if got.status != 400 || got.body != "seconds must be an integer from 1 to 60\n" {
			t.Errorf("%q: got %d %q", seconds, got.status, got.body)
		}
	}
}

// Not parallel: a process takes one profile of its CPU time at once.
func TestASecondProfileIsRefusedAndADrainCutsTheFirst(t *testing.T) {
	s := start(t, settings{})
	one, other := s.asked(60), s.asked(60)
	var refused reply
	select { // the other one can't have an answer yet
	case refused = <-one:
		one = other
	case refused = <-other:
	}
	if refused.status != http.StatusConflict || refused.body != "another profile is being taken: wait for its end\n" {
		t.Errorf("got %d %q", refused.status, refused.body)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	profile(t, <-one)
}
