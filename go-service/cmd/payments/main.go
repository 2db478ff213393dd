// Command payments is the payment service.
//
//	payments serve    runs the service; also without a word
//	payments config   prints every variable that it reads, with its default and bound
//
// It ends with 0 after a drain, with 1 on a failure at run time or at a second signal, with 2 on a configuration that isn't right.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"twinpay.dev/payments/internal/app"
	"twinpay.dev/payments/internal/config"
)

const (
	exitFailure = 1
	exitConfig  = 2
)

func main() {
	command := "serve"
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	switch {
	case command == "serve" && len(os.Args) <= 2:
		os.Exit(serve())
	case command == "config" && len(os.Args) == 2:
		if err := config.Print(os.Stdout); err != nil {
			os.Exit(exitFailure)
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: payments [serve | config]")
		os.Exit(exitConfig)
	}
}

func serve() int {
	c, err := config.Load(os.LookupEnv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "payments:", err)
		return exitConfig
	}
	ctx := untilSignal()
	a, err := app.New(ctx, c, app.Options{Now: time.Now, Logs: os.Stdout, Workers: true})
	if err == nil {
		err = a.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "payments:", err)
		return exitFailure
	}
	return 0
}

// untilSignal ends with the first signal. The second one ends the process at once, however soon it comes.
func untilSignal() context.Context {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(exitFailure)
	}()
	return ctx
}
