package testdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

const (
	// engineLimit: an engine that takes longer to say that it is there is passed over.
	engineLimit = 5 * time.Second
	// pullLimit is for about 150 MB.
	pullLimit = 300 * time.Second
	// startLimit goes from the start of the container to the first answer; the image runs initdb before.
	startLimit = 60 * time.Second
	poll       = 50 * time.Millisecond
	port       = "5432/tcp"
	// sharedMemoryBytes is as much as the server may map for parallel plans; the engine's 64 MB are less than it takes natively.
	sharedMemoryBytes = 256 << 20
	// guarded runs the image's script, and ends the server where nobody holds on to it in time.
	guarded = `(sleep 30; [ -e /tmp/held ] || kill -QUIT 1) & exec docker-entrypoint.sh "$@"`
	// hold says that it holds on, waits for the end of its input and ends the server, which is the container's first process as soon as
	// the image's script is done.
	hold = "touch /tmp/held; echo held; cat > /dev/null; while kill -QUIT 1; do sleep 0.1; done"
)

// lifeline leads to the container: the engine closes the other end when this process is gone, however it ended. So no reaper is needed,
// which would be another image.
var lifeline client.ExecAttachResult

// findEngine gives the engine, if it answers and has the image or can get it; else the reason why not.
func findEngine(image string) (engine *testcontainers.DockerClient, reason string) {
	_ = os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true") // can't fail with this name
	log.SetDefault(log.NewNoopLogger())
	place := os.Getenv("DOCKER_HOST")
	chosen := place != ""
	if !chosen {
		place = "unix:///var/run/docker.sock"
	}
	ctx, cancel := context.WithTimeout(context.Background(), engineLimit)
	defer cancel()
	engine, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err == nil && chosen && engine.DaemonHost() != place {
		err = errors.New("it is passed over for " + engine.DaemonHost())
	}
	if err == nil {
		_, err = engine.Ping(ctx, client.PingOptions{})
	}
	if err != nil {
		return nil, fmt.Sprintf("no container engine answers at %s: %s", place, line(err))
	}
	if err := pull(engine, image); err != nil {
		return nil, fmt.Sprintf("image %s isn't there and can't be pulled: %s", image, line(err))
	}
	return engine, ""
}

// pull gets the image unless it is there. testcontainers would try for 15 minutes.
func pull(engine *testcontainers.DockerClient, image string) error {
	ctx, cancel := context.WithTimeout(context.Background(), pullLimit)
	defer cancel()
	if _, err := engine.ImageInspect(ctx, image); !errdefs.IsNotFound(err) {
		return err
	}
	response, err := engine.ImagePull(ctx, image, client.ImagePullOptions{})
	if err != nil {
		return err
	}
	return response.Wait(ctx)
}

// runContainer starts the server and gives its owner's URL, and host and port.
func runContainer(engine *testcontainers.DockerClient, s settings) (server, place string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	host, face := "127.0.0.1", netip.MustParseAddr("127.0.0.1")
	if remote := remoteHost(); remote != "" {
		host, face = remote, netip.IPv4Unspecified()
	}
	secret := randomHex(16)
	command := []string{"-c", guarded, "sh", "postgres"}
	for _, setting := range slices.Concat(s.Settings, s.Careless) {
		command = append(command, "-c", setting)
	}
	ctr, err := testcontainers.Run(ctx, s.Image,
		testcontainers.WithExposedPorts(port),
		testcontainers.WithEnv(map[string]string{
			"POSTGRES_USER": owner, "POSTGRES_PASSWORD": secret, "POSTGRES_DB": "postgres",
			"POSTGRES_INITDB_ARGS": strings.Join(s.Initdb, " "),
		}),
		testcontainers.WithEntrypoint("sh"),
		testcontainers.WithCmd(command...),
		testcontainers.WithHostConfigModifier(func(host *container.HostConfig) {
			host.AutoRemove = true
			host.ShmSize = sharedMemoryBytes
			host.PortBindings = network.PortMap{network.MustParsePort(port): {{HostIP: face}}}
		}))
	if err != nil {
		return "", "", err
	}
	if err := tie(ctx, engine, ctr.GetContainerID()); err != nil {
		return "", "", err
	}
	mapped, err := ctr.MappedPort(ctx, port)
	if err != nil {
		return "", "", err
	}
	place = fmt.Sprintf("%s:%d", host, mapped.Num())
	server = fmt.Sprintf("postgres://%s:%s@%s/postgres?sslmode=disable", owner, secret, place)
	return server, place, untilItAnswers(ctx, ctr, server)
}

// remoteHost is where an engine that is reached over TCP publishes its ports. The library's own answer is the machine's gateway wherever
// the machine looks like a container.
func remoteHost() string {
	engine, err := url.Parse(os.Getenv("DOCKER_HOST"))
	if err != nil || engine.Scheme == "unix" {
		return ""
	}
	return engine.Hostname()
}

// tie lets the container end with this process.
func tie(ctx context.Context, engine *testcontainers.DockerClient, id string) error {
	exec, err := engine.ExecCreate(ctx, id, client.ExecCreateOptions{
		AttachStdin: true, AttachStdout: true, Cmd: []string{"sh", "-c", hold},
	})
	if err != nil {
		return err
	}
	// The context's end would close the connection.
	lifeline, err = engine.ExecAttach(context.Background(), exec.ID, client.ExecAttachOptions{})
	if err != nil {
		return err
	}
	said := make([]byte, 8+len("held\n")) // the first 8 bytes are the frame's
	if _, err := io.ReadFull(lifeline.Reader, said); err != nil || !bytes.HasSuffix(said, []byte("held\n")) {
		return errors.New("nothing in it holds on to this process")
	}
	return nil
}

func untilItAnswers(ctx context.Context, ctr testcontainers.Container, url string) error {
	for {
		err := ask(url)
		if err == nil {
			return nil
		}
		// A container that has ended is removed, and then this is an error.
		if state, gone := ctr.State(ctx); gone != nil && ctx.Err() == nil || gone == nil && !state.Running {
			return errors.New("it ended before Postgres answered")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer from Postgres within %s: %w", startLimit, err)
		case <-time.After(poll):
		}
	}
}
