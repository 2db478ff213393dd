package testdb

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/jackc/pgx/v5"
)

const (
	variable = "TEST_DATABASE_URL"
	// owner is the role that owns the databases of a server of ours.
	owner        = "twinpay"
	connectLimit = 5 * time.Second
)

var server = sync.OnceValues(choose)

// ServerURL is the owner's URL of the server of this process' tests: that of TEST_DATABASE_URL, else a container, else one of the stack's.
// The first call says on stderr which, and why none before it. It ends the program where there is none: a test is never skipped for that.
func ServerURL() string {
	url, err := server()
	if err != nil {
		fmt.Fprintln(os.Stderr, "testdb: "+line(err))
		os.Exit(1)
	}
	return url
}

func choose() (string, error) {
	if given := os.Getenv(variable); given != "" {
		if err := ask(given); err != nil {
			return "", fmt.Errorf("using the server of %s: %w", variable, err)
		}
		say("the Postgres of " + variable)
		return given, nil
	}
	settings, err := readSettings()
	if err != nil {
		return "", err
	}
	why := variable + " isn't set"
	engine, reason := findEngine(settings.Image)
	if reason == "" {
		url, place, err := runContainer(engine, settings)
		if err != nil {
			return "", fmt.Errorf("the container of %s: %w; %s names another Postgres", settings.Image, err, variable)
		}
		say(fmt.Sprintf("a container of %s at %s (%s)", settings.Image, place, why))
		return url, nil
	}
	url, port, err := startNative()
	if err != nil {
		return "", fmt.Errorf("%s; %s; %w", why, reason, err)
	}
	say(fmt.Sprintf("a Postgres of their own on port %s (%s; %s)", port, why, reason))
	return url, nil
}

func say(what string) {
	fmt.Fprintln(os.Stderr, "tests use "+what)
}

// line is an error in one line: the libraries' texts have more.
func line(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}

// ask is nil where Postgres answers.
func ask(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), connectLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// settings is db/postgres.toml: what every Postgres of ours has in common.
type settings struct {
	Image    string   `toml:"image"`
	Initdb   []string `toml:"initdb"`
	Settings []string `toml:"settings"`
	Careless []string `toml:"careless"`
}

func readSettings() (settings, error) {
	var s settings
	root, err := repository()
	if err == nil {
		_, err = toml.DecodeFile(filepath.Join(root, "db/postgres.toml"), &s)
	}
	return s, err
}

// repository is the folder above this module.
func repository() (string, error) {
	output, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("asking go where the module is: %w", err)
	}
	return filepath.Dir(filepath.Dir(strings.TrimSpace(string(output)))), nil
}
