// Package testdb gives each test a database of its own, and finds or starts the Postgres for it.
package testdb

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"twinpay.dev/db"
)

const (
	serviceRole = "twinpay_service"
	// migrating is the advisory lock of those who change the role, which belongs to the server.
	migrating = 7_462_000_001
)

// Database is a database with its two users.
type Database struct {
	Owner   string // its owner's URL
	Service string // that of the service's role
}

// Empty makes a database without the schema.
func Empty(t testing.TB) Database {
	t.Helper()
	server := connect(t, ServerURL())
	name := fmt.Sprintf("twinpay_test_%d_%s", time.Now().Unix(), randomHex(4))
	execute(t, server, "create database "+name)
	t.Cleanup(func() {
		conn := connect(t, ServerURL())
		execute(t, conn, "drop database "+name+" with (force)")
	})
	owner := parse(t, ServerURL())
	owner.Path = "/" + name
	service := *owner
	service.User = url.UserPassword(serviceRole, password(*owner))
	return Database{owner.String(), service.String()}
}

// Migrated makes a database with the newest schema.
func Migrated(t testing.TB) Database {
	t.Helper()
	d := Empty(t)
	server, owner := connect(t, ServerURL()), connect(t, d.Owner)
	execute(t, server, fmt.Sprintf("select pg_advisory_lock(%d)", migrating))
	for _, migration := range db.Migrations() {
		execute(t, owner, migration)
	}
	execute(t, owner, fmt.Sprintf("alter role %s password '%s'", serviceRole, password(*parse(t, d.Owner))))
	execute(t, server, fmt.Sprintf("select pg_advisory_unlock(%d)", migrating))
	return d
}

// password is the same for all who use the server, since the role is the server's.
func password(owner url.URL) string {
	owner.Path = ""
	sum := sha256.Sum256([]byte(serviceRole + " " + owner.String()))
	return hex.EncodeToString(sum[:16])
}

func parse(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal("the server's URL isn't one")
	}
	return u
}

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func execute(t testing.TB, conn *pgx.Conn, statements string) {
	t.Helper()
	if _, err := conn.Exec(context.Background(), statements, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%s: %v", strings.SplitN(statements, "\n", 2)[0], err)
	}
}

func randomHex(bytes int) string {
	random := make([]byte, bytes)
	_, _ = rand.Read(random) // never fails
	return hex.EncodeToString(random)
}
