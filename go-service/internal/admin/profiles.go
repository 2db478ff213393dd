package admin

import (
	"bytes"
	"net/http"
	"runtime/pprof"
	"strconv"
	"time"
)

const (
	defaultProfile = 30 // seconds
	maxProfile     = 60 // seconds: the asker waits for it
)

// cpuProfile answers where the process spends its CPU time in the next seconds, or until the drain begins. One at a time: another is refused.
func cpuProfile(draining <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		seconds := defaultProfile
		if query := r.URL.Query(); query.Has("seconds") {
			var err error
			if seconds, err = strconv.Atoi(query.Get("seconds")); err != nil || seconds < 1 || seconds > maxProfile {
				http.Error(w, "seconds must be an integer from 1 to 60", http.StatusBadRequest)
				return
			}
		}
		var profile bytes.Buffer
		if err := pprof.StartCPUProfile(&profile); err != nil {
			http.Error(w, "another profile is being taken: wait for its end", http.StatusConflict)
			return
		}
		select {
		case <-time.After(time.Duration(seconds) * time.Second):
		case <-draining:
		case <-r.Context().Done():
		}
		pprof.StopCPUProfile()
		writeProfile(w, profile.Bytes())
	}
}

// heapProfile answers what is allocated and not freed, sampled, as of the last garbage collection.
func heapProfile(w http.ResponseWriter, _ *http.Request) {
	var profile bytes.Buffer
	if err := pprof.Lookup("heap").WriteTo(&profile, 0); err != nil {
		http.Error(w, "no profile: "+err.Error(), http.StatusInternalServerError)
		return
	}
	writeProfile(w, profile.Bytes())
}

func writeProfile(w http.ResponseWriter, profile []byte) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(profile)))
	_, _ = w.Write(profile) // the asker has gone, or it hasn't
}
