// Package test runs the whole service in this process, against a real Postgres and the real card network. Nothing here sleeps: the clock is
// passed in, and workers are stepped by hand.
package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"twinpay.dev/payments/test/testdb"
)

// acquirerAddr is where the card network that all tests share listens.
var acquirerAddr string

func TestMain(m *testing.M) {
	testdb.ServerURL() // says what is missing before anything is started
	os.Exit(withAcquirer(m.Run))
}

func withAcquirer(run func() int) int {
	binary := os.Getenv("TWINPAY_BIN_ACQUIRER")
	if binary == "" {
		binary = "../../target/debug/acquirer"
	}
	command := exec.Command(binary)
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
