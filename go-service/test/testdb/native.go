package testdb

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// held keeps the pipe open: the stack's program ends the server when it is closed, however we end.
var held io.WriteCloser

// startNative starts the stack's server for as long as this process lives and gives its owner's URL and its port.
func startNative() (string, string, error) {
	program := os.Getenv("TWINPAY_BIN_STACK")
	if program == "" {
		root, err := repository()
		if err != nil {
			return "", "", err
		}
		program = filepath.Join(root, "target/debug/stack")
	}
	var said bytes.Buffer
	command := exec.Command(program, "with-postgres", "--", "sh", "-c", `echo "$`+variable+`"; exec cat`)
	command.Stderr = &said
	var err error
	if held, err = command.StdinPipe(); err != nil {
		return "", "", err
	}
	output, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		return "", "", fmt.Errorf("the stack's program can't be started (cargo build -p stack, or TWINPAY_BIN_STACK): %w", err)
	}
	text, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		_ = held.Close()
		_ = command.Wait() // then all that it said is there
		return "", "", fmt.Errorf("%s with-postgres: %s", program, said.String())
	}
	server, err := url.Parse(strings.TrimSpace(text))
	if err != nil {
		return "", "", errors.New("the stack's program gives no URL")
	}
	return server.String(), server.Port(), nil
}
