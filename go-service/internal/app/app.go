// Package app wires the service: pools, acquirer, use cases, two doors, admin, workers; and drains it. What it makes it ends. Nothing here
// knows what a payment is.
package app

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"twinpay.dev/payments/internal/acquirer"
	"twinpay.dev/payments/internal/admin"
	"twinpay.dev/payments/internal/config"
	"twinpay.dev/payments/internal/grpcapi"
	"twinpay.dev/payments/internal/hashpool"
	"twinpay.dev/payments/internal/httpapi"
	"twinpay.dev/payments/internal/store"
	"twinpay.dev/payments/internal/telemetry"
	"twinpay.dev/payments/internal/usecase"
	"twinpay.dev/payments/internal/workers"
)

const (
	drainTimeout   = 10 * time.Second // for the requests in flight
	flushTimeout   = 5 * time.Second  // for the last spans
	adminTimeout   = time.Second      // for the last answers on the admin port
	schemaInterval = 250 * time.Millisecond
	schemaTimeout  = 2 * time.Second
)

// ErrSchema ends a service whose database has another schema.
var ErrSchema = errors.New("the database's schema is missing or of another version: run `payments migrate`")

// App is a service that listens.
type App struct {
	HTTPAddr, GRPCAddr, AdminAddr string // as bound
	Workers                       *workers.Workers

	telemetry  *telemetry.Telemetry
	options    Options
	db, worker *store.DB
	acquirer   *acquirer.Client
	payments   *usecase.Payments
	readiness  *admin.Readiness
	http       *http.Server
	grpcDoor   *grpcapi.Door
	grpc       *grpc.Server
	admin      *http.Server
	listeners  []net.Listener
}

// Options are what a test sets otherwise than a service.
type Options struct {
	Now     func() time.Time
	Logs    io.Writer
	Workers bool // whether Run runs them
	// DrainTimeout is how long requests in flight may take when the service ends; 0: 10 s.
	DrainTimeout time.Duration
}

// New makes the parts and binds the ports.
func New(ctx context.Context, c config.Config, o Options) (*App, error) {
	t, err := telemetry.New(ctx, c.OTLPEndpoint, c.LogLevel, o.Logs)
	if err != nil {
		return nil, err
	}
	o.DrainTimeout = cmp.Or(o.DrainTimeout, drainTimeout)
	a := &App{telemetry: t, options: o, readiness: admin.NewReadiness()}
	if a.db, err = store.Open("requests", c.DatabaseURL, c.DatabaseConnections, c.DatabaseWait, t); err != nil {
		return nil, err
	}
	if a.worker, err = store.Open("workers", c.DatabaseURL, c.WorkerConnections, c.DatabaseWait, t); err != nil {
		return nil, err
	}
	if a.acquirer, err = acquirer.New(c.AcquirerAddr, t); err != nil {
		return nil, err
	}
	pool := hashpool.New(c.HashPermits, c.HashQueue, c.HashWait, t)
	payments := func(db *store.DB) *usecase.Payments {
		return &usecase.Payments{
			DB: db, Acquirer: a.acquirer, HashPool: pool, Telemetry: t, Now: o.Now, Pepper: c.Pepper,
			HashIterations: c.HashIterations, AuthorizationPeriod: c.AuthorizationPeriod, Lease: c.Lease,
			WebhookMaster: c.WebhookMaster, WebhookTargets: c.WebhookTargets,
		}
	}
	a.payments = payments(a.db)
	a.payments.Streams = usecase.NewStreams(c.Streams, c.StreamHeartbeat, c.StreamWrite)
	a.Workers = workers.New(payments(a.worker), a.payments.Streams, c)
	auth := usecase.NewAuthenticator(a.db, c.AdminToken, usecase.NewRateLimit(c.RateLimit, c.RateBurst), t)
	a.http = httpapi.New(a.payments, auth, c.BodyTimeout, t).Server()
	a.grpcDoor = grpcapi.New(a.payments, auth, c.BodyTimeout, t)
	a.grpc = a.grpcDoor.Server()
	a.admin = admin.Server(a.readiness, t.MetricsHandler())
	return a, a.listen(c)
}

// Run serves until the context ends or the schema is seen to be another one, then drains.
func (a *App) Run(ctx context.Context) error {
	a.telemetry.Log.InfoContext(ctx, "listening", "http_addr", a.HTTPAddr, "grpc_addr", a.GRPCAddr, "admin_addr", a.AdminAddr,
		"gomaxprocs", runtime.GOMAXPROCS(0))
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	for i, serve := range []func(net.Listener) error{a.http.Serve, a.grpc.Serve, a.admin.Serve} {
		go func() {
			if err := serve(a.listeners[i]); err != nil && !errors.Is(err, http.ErrServerClosed) {
				stop(err)
			}
		}()
	}
	var background sync.WaitGroup
	background.Go(func() {
		if a.awaitSchema(ctx) && a.options.Workers {
			a.Workers.Run(ctx)
		}
	})
	var err error
	select {
	case <-ctx.Done():
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
			err = cause
		}
	case <-a.db.Mismatch():
		err = ErrSchema
	case <-a.worker.Mismatch():
		err = ErrSchema
	}
	stop(nil)
	a.drain(&background)
	return err
}

// awaitSchema makes the service ready once the schema was seen; Postgres may come later than we do. It reports whether it was seen.
func (a *App) awaitSchema(ctx context.Context) bool {
	ticker := time.NewTicker(schemaInterval)
	defer ticker.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, schemaTimeout)
		err := a.worker.CheckSchema(asking)
		cancel()
		if err == nil {
			a.readiness.SchemaSeen()
			a.grpcDoor.Ready()
			a.telemetry.Log.InfoContext(ctx, "ready")
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
}

// drain takes no more requests, finishes those in flight, and ends what New made. What is still unfinished at the end of its time loses its
// lease, so that another instance goes on with it at once.
func (a *App) drain(background *sync.WaitGroup) {
	a.telemetry.Log.Info("draining")
	a.readiness.Draining()
	a.grpcDoor.Drain()
	a.payments.Streams.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), a.options.DrainTimeout)
	defer cancel()
	var doors errgroup.Group
	doors.Go(func() error { return a.http.Shutdown(ctx) })
	doors.Go(func() error { return within(ctx, a.grpc.GracefulStop) })
	doors.Go(func() error { return within(ctx, background.Wait) })
	err := errors.Join(doors.Wait(), within(ctx, a.payments.Wait), within(ctx, a.Workers.Recovery.Payments.Wait))
	if err != nil {
		a.telemetry.Log.Warn("work was cut off", "error", err)
		var releasing sync.WaitGroup
		releasing.Go(a.payments.ReleaseAll)
		releasing.Go(a.Workers.Recovery.Payments.ReleaseAll)
		releasing.Wait()
	}
	if err := errors.Join(within(ctx, a.db.Close), within(ctx, a.worker.Close)); err != nil {
		a.telemetry.Log.Warn("database connections were cut off", "error", err)
	}
	flushing, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	a.telemetry.Shutdown(flushing)
	ending, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	_ = a.admin.Shutdown(ending) // Close below ends what goes on
	go a.grpc.Stop()             // waits for handlers, which had their time
	if err := errors.Join(a.http.Close(), a.admin.Close(), a.acquirer.Close()); err != nil {
		a.telemetry.Log.Warn("not everything was closed", "error", err)
	}
	a.telemetry.Log.Info("stopped")
}

// within waits for work as long as the context allows; what goes on after that ends with the process.
func within(ctx context.Context, work func()) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
