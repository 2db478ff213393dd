// Command hashloop says how many card hashes one core makes in Go: the same derivation as the service's, in a tight loop. The judge
// compares the service's tokenisations with it.
package main

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 16384, "rounds of PBKDF2 a hash")
	length := flag.Duration("length", time.Second, "how long to go on")
	flag.Parse()
	runtime.LockOSThread()
	password, salt := strings.Repeat("\x07", 32), []byte(strings.Repeat("\x09", 16))
	begin, hashes := time.Now(), 0
	for time.Since(begin) < *length {
		if _, err := pbkdf2.Key(sha256.New, password, salt, *rounds, 32); err != nil {
			fmt.Fprintln(os.Stderr, "hashloop:", err)
			os.Exit(2)
		}
		hashes++
	}
	said := map[string]any{"hashes": hashes, "seconds": time.Since(begin).Seconds()}
	if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
		os.Exit(1)
	}
}
