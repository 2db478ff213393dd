package telemetry

import (
	"io"
	"log/slog"
	"math"
	"net/http/httptest"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// value is that of the first series that begins so; -1 where there is none.
func value(t *testing.T, text, series string) float64 {
	t.Helper()
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, series) {
			found, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
			if err != nil {
				t.Fatal(err)
			}
			return found
		}
	}
	return -1
}

func TestTheRuntimeTellsOfItsCollectionsWheneverItIsAsked(t *testing.T) {
	telemetry, err := New(t.Context(), "", slog.LevelInfo, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	look := func() string {
		reply := httptest.NewRecorder()
		telemetry.MetricsHandler().ServeHTTP(reply, httptest.NewRequest("GET", "/metrics", nil))
		return reply.Body.String()
	}
	before := look()
	runtime.GC()
	after := look()
	for _, series := range []string{
		"go_memory_gc_cycles_total", "go_memory_gc_pause_duration_seconds_count", "go_memory_gc_pause_duration_seconds_sum",
		`go_cpu_time_seconds_total{go_cpu_state="gc"`, "go_memory_allocations_total",
	} {
		if was, is := value(t, before, series), value(t, after, series); was < 0 || is <= was {
			t.Errorf("%s: %v before a collection, %v after it", series, was, is)
		}
	}
	if got, want := value(t, after, "go_processor_limit"), float64(runtime.GOMAXPROCS(0)); got != want {
		t.Errorf("go_processor_limit %v, want %v", got, want)
	}
	for _, series := range []string{`go_memory_used_bytes{go_memory_type="other"`, `go_memory_used_bytes{go_memory_type="stack"`, "go_goroutine_count"} {
		if got := value(t, after, series); got <= 0 {
			t.Errorf("%s %v", series, got)
		}
	}
}

func TestBucketsOutsideOfTheBoundsAreTakenTogether(t *testing.T) {
	told := cumulative(&metrics.Float64Histogram{
		Buckets: []float64{math.Inf(-1), 1e-7, 1e-6, 3e-6, 1, 60, math.Inf(1)},
		Counts:  []uint64{1, 2, 4, 8, 16, 32},
	}).DataPoints[0]
	if want := []float64{1e-6, 3e-6, 1}; !slices.Equal(told.Bounds, want) {
		t.Errorf("bounds %v, want %v", told.Bounds, want)
	}
	if want := []uint64{3, 4, 8, 48}; !slices.Equal(told.BucketCounts, want) || told.Count != 63 {
		t.Errorf("counts %v of %d, want %v", told.BucketCounts, told.Count, want)
	}
	want := 1*0.5e-7 + 2*5.5e-7 + 4*2e-6 + 8*0.5000015 + 16*30.5 + 32*60
	if math.Abs(told.Sum-want) > 1e-9 {
		t.Errorf("sum %v, want %v", told.Sum, want)
	}
}
