// Package db holds the storage contract that both twins share: the schema's migrations and the statements, embedded from the files
// beside it. A Go module can't embed files above itself, so the folder is a module of its own and the Go twin's go.mod says
// `replace twinpay.dev/db => ../db`.
package db

import (
	"embed"
	"io/fs"
	"slices"
	"strings"
)

//go:embed queries/*.sql
var queries embed.FS

//go:embed migrations/*.sql
var migrations embed.FS

// Query returns the statement in queries/<name>.sql. It panics where there is none: names are constants.
func Query(name string) string {
	text, err := queries.ReadFile("queries/" + name + ".sql")
	if err != nil {
		panic(err)
	}
	return string(text)
}

// Queries returns the names of all statements, sorted.
func Queries() []string {
	return stems(queries, "queries")
}

// Migrations returns the texts of all migrations in the order in which they are applied. Each raises schema_version by one, so their
// number is the version that these statements need.
func Migrations() []string {
	names := stems(migrations, "migrations")
	texts := make([]string, len(names))
	for i, name := range names {
		text, err := migrations.ReadFile("migrations/" + name + ".sql")
		if err != nil {
			panic(err)
		}
		texts[i] = string(text)
	}
	return texts
}

// stems panics where the embedded folder can't be read, which the compiler has already excluded.
func stems(files fs.FS, folder string) []string {
	entries, err := fs.ReadDir(files, folder)
	if err != nil {
		panic(err)
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = strings.TrimSuffix(entry.Name(), ".sql")
	}
	slices.Sort(names)
	return names
}
