package config

import (
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

func TestTheTableIsThatOfTheContract(t *testing.T) {
	var file struct {
		Prefix   string
		Variable []struct {
			Name, Kind, About string
			Default           *string
			Min, Max          int64
		}
	}
	if _, err := toml.DecodeFile("../../../proto/config.toml", &file); err != nil {
		t.Fatal(err)
	}
	if file.Prefix != prefix || len(file.Variable) != len(variables) {
		t.Fatalf("prefix %q, %d variables; want %q, %d", prefix, len(variables), file.Prefix, len(file.Variable))
	}
	for i, want := range file.Variable {
		got := variables[i]
		if got.name != want.Name || got.kind != want.Kind || got.about != want.About || got.min != want.Min || got.max != want.Max {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if got.required != (want.Default == nil) || want.Default != nil && *want.Default != got.defaultText {
			t.Errorf("%s: default %q (required %v), want %v", got.name, got.defaultText, got.required, want.Default)
		}
	}
}

func TestAnErrorNamesTheVariableItsProblemAndTheBound(t *testing.T) {
	good := map[string]string{
		"TWINPAY_DATABASE_URL": "postgres://u:hunter2@127.0.0.1/db", "TWINPAY_ACQUIRER_URL": "http://127.0.0.1:9090",
		"TWINPAY_ADMIN_TOKEN": strings.Repeat("t", 32), "TWINPAY_PEPPER": strings.Repeat("0a", 32),
	}
	cases := []struct{ name, value, want string }{
		{"DATABASE_URL", "", "TWINPAY_DATABASE_URL isn't set: it must be a URL"},
		{"DATABASE_URL", "postgres://u:hunter2@:x/", "TWINPAY_DATABASE_URL isn't a Postgres URL: it must be a URL"},
		{"DATABASE_URL", "host=localhost user=u", "TWINPAY_DATABASE_URL isn't a Postgres URL: it must be a URL"},
		{"ACQUIRER_URL", "http://:1", "TWINPAY_ACQUIRER_URL isn't http://host:port: it must be a URL"},
		{"ACQUIRER_URL", "https://a:1", "TWINPAY_ACQUIRER_URL isn't http://host:port: it must be a URL"},
		{"DATABASE_CONNECTIONS", "0", `TWINPAY_DATABASE_CONNECTIONS is "0": it must be an integer from 1 to 200`},
		{"DATABASE_CONNECTIONS", "1e3", `TWINPAY_DATABASE_CONNECTIONS is "1e3": it must be an integer from 1 to 200`},
		{"HASH_QUEUE", "-1", `TWINPAY_HASH_QUEUE is "-1": it must be an integer from 0 to 65536`},
		{"HTTP_ADDR", "localhost", `TWINPAY_HTTP_ADDR is "localhost": it must be host:port`},
		{"HTTP_ADDR", ":8080", `TWINPAY_HTTP_ADDR is ":8080": it must be host:port`},
		{"HTTP_ADDR", "localhost:65536", `TWINPAY_HTTP_ADDR is "localhost:65536": it must be host:port`},
		{"ADMIN_TOKEN", "short", "TWINPAY_ADMIN_TOKEN has 5 bytes: it must be a text of 32 to 255 bytes, visible ASCII"},
		{"ADMIN_TOKEN", strings.Repeat("é", 16), "TWINPAY_ADMIN_TOKEN has a byte that isn't visible ASCII: it must be a text of 32 to 255 bytes, visible ASCII"},
		{"PEPPER", strings.Repeat("x", 64), "TWINPAY_PEPPER has a byte that isn't a hex digit: it must be 64 hex digits"},
		{"LOG_LEVEL", "trace", `TWINPAY_LOG_LEVEL is "trace": it must be error, warn, info or debug`},
	}
	for _, c := range cases {
		_, err := Load(func(name string) (string, bool) {
			if name == prefix+c.name {
				return c.value, true
			}
			value, ok := good[name]
			return value, ok
		})
		if err == nil || err.Error() != c.want {
			t.Errorf("%s=%q: got %v, want %s", c.name, c.value, err, c.want)
		}
	}
	for url, addr := range map[string]string{"http://a": "a:80", "http://a:1/": "a:1", "http://[::1]:1": "[::1]:1"} {
		var c Config
		if err := setAcquirerURL(&c, url, 0); err != nil || c.AcquirerAddr != addr {
			t.Errorf("%s: got %s, %v", url, c.AcquirerAddr, err)
		}
	}
	c, err := Load(func(name string) (string, bool) { v, ok := good[name]; return v, ok })
	if err != nil || c.HashQueue != 4*c.HashPermits || c.Pepper[31] != 10 || c.AcquirerAddr != "127.0.0.1:9090" {
		t.Errorf("got %+v, %v", c, err)
	}
}
