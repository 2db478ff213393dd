package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"twinpay.dev/payments/internal/app"
	"twinpay.dev/payments/test/testdb"
)

// command is the program with an environment of its own, which is without the prefix.
func command(t *testing.T, env map[string]string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), binary, args...) // killed with the test
	c.Env = []string{}                                     // nil would be ours
	for name, value := range env {
		c.Env = append(c.Env, "TWINPAY_"+name+"="+value)
	}
	return c
}

// run runs the program to its end.
func run(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, told bytes.Buffer
	c := command(t, env, args...)
	c.Stdout, c.Stderr = &out, &told
	var ended *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String(), told.String()
}

func TestAConfigurationThatCantBeUsedIsOneLineAndExitCode2(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, value, told string }{
		{"DATABASE_URL", "", "isn't set: it must be postgres://user:password@host:port/database"},
		{"DATABASE_URL", "postgres://u:hunter2@h:x/db", "can't be read: it must be postgres://user:password@host:port/database"},
		{"DATABASE_CONNECTIONS", "0", `is "0": it must be an integer from 1 to 200`},
		{"HTTP_ADDR", "localhost\n", "has a byte that isn't visible ASCII: it must be host:port"},
		{"PEPPER", "0a", "has 2 bytes: it must be 64 hex digits"},
	} {
		env := environment(settings{database: testdb.Database{Service: "postgres://u@127.0.0.1:1/db"}, env: map[string]string{c.name: c.value}})
		code, stdout, stderr := run(t, env)
		if want := "payments: TWINPAY_" + c.name + " " + c.told + "\n"; code != 2 || stderr != want || stdout != "" {
			t.Errorf("%s=%q: exit code %d, stdout %q, stderr %q; want 2 and %q", c.name, c.value, code, stdout, stderr, want)
		}
	}
	if code, _, stderr := run(t, nil, "migrate"); code != 2 || stderr != "usage: payments [serve | config]\n" {
		t.Errorf("a word that it doesn't know: exit code %d, %q", code, stderr)
	}
	if code, stdout, stderr := run(t, nil, "config"); code != 0 || stderr != "" || !contains(stdout, "TWINPAY_DATABASE_URL ") {
		t.Errorf("config: exit code %d, %q, %q", code, stdout, stderr)
	}
}

func TestAPortThatIsTakenIsNamedAndExitCode1(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	env := environment(settings{database: testdb.Database{Service: "postgres://u@127.0.0.1:1/db"}, env: map[string]string{"GRPC_ADDR": taken.Addr().String()}})
	code, _, stderr := run(t, env, "serve")
	if want := "payments: TWINPAY_GRPC_ADDR: listen tcp " + taken.Addr().String(); code != 1 || !strings.HasPrefix(stderr, want) || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit code %d, %q; want 1 and %q", code, stderr, want)
	}
}

func TestAnotherSchemaIsExitCode1(t *testing.T) {
	t.Parallel()
	code, _, stderr := run(t, environment(settings{database: testdb.Empty(t)}))
	if code != 1 || stderr != "payments: "+app.ErrSchema.Error()+"\n" {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

func TestNothingIsRecoveredUnderAnotherSchema(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	s.refused(504, "OUTCOME_UNKNOWN", s.post("k", "/v1/payments", paymentBody(s.token("4000000000003063"), "automatic", "r")))
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s.execute("update operations set leased_until = now() - interval '1 minute'")
	s.execute("update schema_version set version = 99")
	if code, _, stderr := run(t, environment(settings{database: s.database})); code != 1 || !contains(stderr, "payments migrate") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	if untouched := query[bool](s, "select state = 'pending' and lease_token = 0 from operations"); !untouched {
		t.Error("the operation was leased")
	}
}

// program is the service as a process of its own, with a merchant.
type program struct {
	*service
	process *exec.Cmd
	stdout  *bufio.Scanner
	stderr  *bytes.Buffer
}

// startProgram runs the program until it is ready.
func startProgram(t *testing.T, s settings) *program {
	t.Helper()
	s.database = testdb.Migrated(t)
	p := &program{process: command(t, environment(s)), stderr: &bytes.Buffer{}}
	p.process.Stderr = p.stderr
	stdout, err := p.process.StdoutPipe()
	if err == nil {
		err = p.process.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewScanner(stdout)
	listening := p.until(t, "listening")
	p.service = &service{t: t, database: s.database, app: &app.App{HTTPAddr: listening.HTTPAddr, GRPCAddr: listening.GRPCAddr, AdminAddr: listening.AdminAddr}}
	for _, addr := range []string{listening.HTTPAddr, listening.GRPCAddr, listening.AdminAddr} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatalf("nothing listens where it says: %+v, %v", listening, err)
		}
		_ = conn.Close()
	}
	p.until(t, "ready")
	p.addMerchant()
	return p
}

// logLine is a line of the program's log.
type logLine struct {
	Message   string
	HTTPAddr  string `json:"http_addr"`
	GRPCAddr  string `json:"grpc_addr"`
	AdminAddr string `json:"admin_addr"`
}

// until reads the log up to a message, and answers its line.
func (p *program) until(t *testing.T, message string) logLine {
	t.Helper()
	for p.stdout.Scan() {
		var line logLine
		if err := json.Unmarshal(p.stdout.Bytes(), &line); err != nil {
			t.Fatalf("%v in %s", err, p.stdout.Text())
		}
		if line.Message == message {
			return line
		}
	}
	t.Fatalf("it ended without the line %q: %s", message, p.stderr)
	return logLine{}
}

// terminate sends SIGTERM.
func (p *program) terminate() {
	p.t.Helper()
	if err := p.process.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

func TestADrainFinishesTheRequestsAndIsExitCode0(t *testing.T) {
	t.Parallel()
	h := newHeld()
	p := startProgram(t, settings{env: map[string]string{"ACQUIRER_URL": (&network{sale: h.sale}).listen(t)}})
	p.must(200, p.send("GET", "/livez", ""))
	p.must(200, p.get("http://"+p.app.AdminAddr+"/version"))
	sold := p.sell(h)
	p.terminate()
	p.until(t, "draining")
	close(h.release)
	if got := <-sold; got.status != 201 {
		t.Errorf("the sale in flight got %d", got.status)
	}
	p.until(t, "stopped")
	if p.stdout.Scan() {
		t.Errorf("a line after the last: %s", p.stdout.Text())
	}
	if err := p.process.Wait(); err != nil || p.stderr.Len() > 0 {
		t.Errorf("ended with %v, %q", err, p.stderr)
	}
	if state := query[string](p.service, "select state from payments"); state != "captured" {
		t.Errorf("the payment is %s", state)
	}
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	h := newHeld()
	defer close(h.release)
	p := startProgram(t, settings{env: map[string]string{"ACQUIRER_URL": (&network{sale: h.sale}).listen(t)}})
	sold := p.sell(h)
	p.terminate()
	p.until(t, "draining")
	p.terminate()
	if p.stdout.Scan() {
		t.Errorf("it went on with %s", p.stdout.Text())
	}
	_ = p.process.Wait() // an exit code other than 0 is an error
	if code := p.process.ProcessState.ExitCode(); code != 1 {
		t.Errorf("ended with %s", p.process.ProcessState)
	}
	if got, ok := <-sold; ok {
		t.Errorf("the sale in flight got %d", got.status)
	}
}
