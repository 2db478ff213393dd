package config

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
)

func TestTheTableIsThatOfTheContract(t *testing.T) {
	var file struct {
		Prefix   string
		Variable []struct {
			Name, Kind, About string
			Default           *string
			Min, Max          int64
			Choices           []string
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
		if want.Choices != nil && got.form != strings.Join(want.Choices, " or ") {
			t.Errorf("%s: %s, want %q", got.name, got.form, want.Choices)
		}
		if got.required != (want.Default == nil) || want.Default != nil && *want.Default != got.defaultText {
			t.Errorf("%s: default %q (required %v), want %v", got.name, got.defaultText, got.required, want.Default)
		}
	}
}

func TestEnvironmentsAreTakenOrRefusedAsTheContractSays(t *testing.T) {
	var file struct {
		Good map[string]string
		Case []struct {
			Set   map[string]string
			Error string
		}
	}
	if _, err := toml.DecodeFile("../../../proto/vectors/config.toml", &file); err != nil {
		t.Fatal(err)
	}
	for _, c := range file.Case {
		_, err := Load(environment(file.Good, c.Set))
		if got := fmt.Sprint(err); c.Error != "" && got != c.Error || c.Error == "" && err != nil {
			t.Errorf("%q: got  %s\nwant %s", c.Set, got, c.Error)
		}
	}
}

// environment looks variables up in what is set, then in what is good.
func environment(good, set map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		name = strings.TrimPrefix(name, prefix)
		if value, ok := set[name]; ok {
			return value, true
		}
		value, ok := good[name]
		return value, ok
	}
}

func TestWhatIsReadAndWhatDefaultsMake(t *testing.T) {
	good := map[string]string{
		"DATABASE_URL": "postgres://u@127.0.0.1/db", "ACQUIRER_URL": "http://127.0.0.1:9090",
		"ADMIN_TOKEN": strings.Repeat("t", 32), "PEPPER": strings.Repeat("0a", 32), "WEBHOOK_MASTER": strings.Repeat("0b", 32),
	}
	c, err := Load(environment(good, nil))
	if err != nil || c.HashPermits != int64(runtime.GOMAXPROCS(0)) || c.HashQueue != 4*c.HashPermits || c.Pepper[31] != 10 || c.Lease != 4*time.Second {
		t.Errorf("got %+v, %v", c, err)
	}
	for url, addr := range map[string]string{"http://a": "a:80", "http://a:1/": "a:1", "http://[::1]:1": "[::1]:1", "http://[::1]": "[::1]:80"} {
		c, err := Load(environment(good, map[string]string{"ACQUIRER_URL": url, "HASH_PERMITS": "3"}))
		if err != nil || c.AcquirerAddr != addr || c.HashQueue != 12 {
			t.Errorf("%s: got %+v, %v", url, c, err)
		}
	}
}
