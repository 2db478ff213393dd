package telemetry

import (
	"context"
	"errors"
	"math"
	"runtime/metrics"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/semconv/v1.43.0/goconv"
)

// What the Go runtime tells of itself, under the names of OpenTelemetry's conventions. It is read when somebody looks at the metrics, and
// nothing is counted for it in between.

// Of the conventions' attributes.
const (
	cpuState   = attribute.Key("go.cpu.state")
	memoryType = attribute.Key("go.memory.type")
)

// cpuClasses are the runtime's classes of CPU time, by the conventions' states.
var cpuClasses = map[string]goconv.CPUStateAttr{
	"/cpu/classes/user:cpu-seconds":           goconv.CPUStateUser,
	"/cpu/classes/gc/total:cpu-seconds":       goconv.CPUStateGC,
	"/cpu/classes/scavenge/total:cpu-seconds": goconv.CPUStateScavenge,
	"/cpu/classes/idle:cpu-seconds":           goconv.CPUStateIdle,
}

// The runtime's parts of go.memory.used.
const (
	memoryTotal    = "/memory/classes/total:bytes"
	memoryReleased = "/memory/classes/heap/released:bytes"
	memoryStacks   = "/memory/classes/heap/stacks:bytes"
)

// observeRuntime has the metrics tell what the runtime counts.
func observeRuntime(m metric.Meter) error {
	gogc, err1 := goconv.NewConfigGogc(m)
	goroutines, err2 := goconv.NewGoroutineCount(m)
	allocated, err3 := goconv.NewMemoryAllocated(m)
	allocations, err4 := goconv.NewMemoryAllocations(m)
	cycles, err5 := goconv.NewMemoryGCCyclesObservable(m)
	goal, err6 := goconv.NewMemoryGCGoal(m)
	limit, err7 := goconv.NewMemoryLimit(m)
	processors, err8 := goconv.NewProcessorLimit(m)
	used, err9 := goconv.NewMemoryUsed(m)
	cpu, err10 := goconv.NewCPUTimeObservable(m)
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7, err8, err9, err10); err != nil {
		return err
	}
	counts := map[string]metric.Int64Observable{
		"/gc/gogc:percent":             gogc.Inst(),
		"/sched/goroutines:goroutines": goroutines.Inst(),
		"/gc/heap/allocs:bytes":        allocated.Inst(),
		"/gc/heap/allocs:objects":      allocations.Inst(),
		"/gc/cycles/total:gc-cycles":   cycles.Inst(),
		"/gc/heap/goal:bytes":          goal.Inst(),
		"/gc/gomemlimit:bytes":         limit.Inst(),
		"/sched/gomaxprocs:threads":    processors.Inst(),
	}
	observables := []metric.Observable{used.Inst(), cpu.Inst()}
	names := []string{memoryTotal, memoryReleased, memoryStacks}
	for name, count := range counts {
		observables, names = append(observables, count), append(names, name)
	}
	for name := range cpuClasses {
		names = append(names, name)
	}
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		memory := map[string]int64{}
		for _, sample := range read(names...) {
			if state, ok := cpuClasses[sample.Name]; ok {
				o.ObserveFloat64(cpu.Inst(), sample.Value.Float64(), metric.WithAttributes(cpuState.String(string(state))))
				continue
			}
			value := sample.Value.Uint64()
			if value >= math.MaxInt64 {
				continue // no limit is set, or the collector is off
			}
			if count, ok := counts[sample.Name]; ok {
				o.ObserveInt64(count, int64(value))
			} else {
				memory[sample.Name] = int64(value)
			}
		}
		stacks := memory[memoryStacks]
		other := memory[memoryTotal] - memory[memoryReleased] - stacks
		o.ObserveInt64(used.Inst(), stacks, metric.WithAttributes(memoryType.String(string(goconv.MemoryTypeStack))))
		o.ObserveInt64(used.Inst(), other, metric.WithAttributes(memoryType.String(string(goconv.MemoryTypeOther))))
		return nil
	}, observables...)
	return err
}

func read(names ...string) []metrics.Sample {
	samples := make([]metrics.Sample, len(names))
	for i, name := range names {
		samples[i].Name = name
	}
	metrics.Read(samples)
	return samples
}

// runtimeHistograms hands over what the runtime keeps as histograms; no instrument of the metrics' API could take them.
type runtimeHistograms struct{ since time.Time }

// Produce implements sdkmetric.Producer.
func (h runtimeHistograms) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	pauses, waits := goconv.MemoryGCPauseDuration{}, goconv.ScheduleDuration{}
	samples := read("/sched/pauses/total/gc:seconds", "/sched/latencies:seconds")
	told := func(at int, name, about, unit string) metricdata.Metrics {
		data := cumulative(samples[at].Value.Float64Histogram())
		data.DataPoints[0].StartTime, data.DataPoints[0].Time = h.since, time.Now()
		return metricdata.Metrics{Name: name, Description: about, Unit: unit, Data: data}
	}
	return []metricdata.ScopeMetrics{{
		Scope: instrumentation.Scope{Name: scope},
		Metrics: []metricdata.Metrics{
			told(0, pauses.Name(), pauses.Description(), pauses.Unit()),
			told(1, waits.Name(), waits.Description(), waits.Unit()),
		},
	}}, nil
}

// The runtime's buckets reach from a nanosecond to years, with four to each power of two. Those outside of these bounds are taken together.
const (
	shortest = 1e-6 // seconds
	longest  = 1
)

// cumulative is a histogram of the runtime with fewer buckets. The runtime keeps no sum; this one is of the buckets' middles, and so right
// to about a tenth.
func cumulative(of *metrics.Float64Histogram) metricdata.Histogram[float64] {
	point := metricdata.HistogramDataPoint[float64]{BucketCounts: []uint64{0}}
	for i, count := range of.Counts {
		low, high := of.Buckets[i], of.Buckets[i+1]
		point.Count += count
		point.BucketCounts[len(point.BucketCounts)-1] += count
		if high >= shortest && high <= longest {
			point.Bounds, point.BucketCounts = append(point.Bounds, high), append(point.BucketCounts, 0)
		}
		middle := (max(low, 0) + high) / 2
		if math.IsInf(high, 1) {
			middle = low
		}
		if count > 0 {
			point.Sum += float64(count) * middle
		}
	}
	return metricdata.Histogram[float64]{
		Temporality: metricdata.CumulativeTemporality,
		DataPoints:  []metricdata.HistogramDataPoint[float64]{point},
	}
}
