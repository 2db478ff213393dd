// Package test runs the whole service in this process, and the program itself, against a real Postgres and the real card network. Nothing
// here sleeps: the clock is passed in, and workers are stepped by hand.
package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"twinpay.dev/payments/test/testdb"
)

var (
	// acquirerAddr is where the card network that all tests share listens.
	acquirerAddr string
	// binary is the program.
	binary string
)

func TestMain(m *testing.M) {
	testdb.ServerURL() // says what is missing before anything is started
	os.Exit(withProgram(func() int { return withAcquirer(m.Run) }))
}

func withProgram(run func() int) int {
	folder, err := os.MkdirTemp("", "payments-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }()
	binary = filepath.Join(folder, "payments")
	if output, err := exec.Command("go", "build", "-o", binary, "../cmd/payments").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "the program can't be built: %v\n%s", err, output)
		return 1
	}
	return run()
}

func withAcquirer(run func() int) int {
	network := os.Getenv("TWINPAY_BIN_ACQUIRER")
	if network == "" {
		network = "../../target/debug/acquirer"
	}
	command := exec.Command(network)
	command.Env = []string{"ACQUIRER_ADDR=127.0.0.1:0", "ACQUIRER_LATENCY=fixed:0ms"}
	output, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "the card network can't be started (cargo build -p acquirer, or TWINPAY_BIN_ACQUIRER): %v\n", err)
		return 1
	}
	defer func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	}()
	line, err := bufio.NewReader(output).ReadBytes('\n')
	var listening struct {
		Addr string `json:"grpc_addr"`
	}
	if err == nil {
		err = json.Unmarshal(line, &listening)
	}
	if err != nil || listening.Addr == "" {
		fmt.Fprintf(os.Stderr, "the card network didn't say where it listens: %s %v\n", line, err)
		return 1
	}
	acquirerAddr = listening.Addr
	return run()
}
