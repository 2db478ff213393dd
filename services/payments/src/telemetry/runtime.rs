//! What the allocator and the async runtime tell of themselves; OpenTelemetry's conventions have no names for either. It is
//! read when somebody looks at the metrics, and nothing is counted for it in between.

use opentelemetry::metrics::Meter;
use tikv_jemalloc_ctl::{Result, epoch, stats};
use tokio::runtime::{Handle, RuntimeMetrics};

/// A figure of the allocator: its name, what it is, and how it is read.
type OfAllocator = (&'static str, &'static str, fn() -> Result<usize>);
/// The same of the runtime.
type OfRuntime = (&'static str, &'static str, fn(&RuntimeMetrics) -> usize);

const ALLOCATOR: [OfAllocator; 4] = [
    (
        "jemalloc.memory.allocated",
        "Memory that the application has allocated and not freed.",
        stats::allocated::read,
    ),
    ("jemalloc.memory.active", "Pages that allocated memory lies in.", stats::active::read),
    (
        "jemalloc.memory.resident",
        "Pages of the allocator that are in physical memory, unused ones too.",
        stats::resident::read,
    ),
    (
        "jemalloc.memory.retained",
        "Address space that the allocator keeps without memory behind it.",
        stats::retained::read,
    ),
];

const RUNTIME: [OfRuntime; 3] = [
    ("tokio.workers", "Worker threads of the runtime.", RuntimeMetrics::num_workers),
    ("tokio.tasks.alive", "Tasks that have begun and not ended.", RuntimeMetrics::num_alive_tasks),
    ("tokio.global_queue.depth", "Tasks that wait for any worker.", RuntimeMetrics::global_queue_depth),
];

/// Has the metrics tell it. Outside of a runtime there is nothing to tell of one.
pub(super) fn observe(meter: &Meter) {
    for (name, about, read) in ALLOCATOR {
        let _instrument = meter
            .u64_observable_gauge(name)
            .with_description(about)
            .with_unit("By")
            .with_callback(move |gauge| {
                // The allocator answers as of its last epoch.
                if let Ok(bytes) = epoch::advance().and_then(|_| read()) {
                    gauge.observe(bytes as u64, &[]);
                }
            })
            .build();
    }
    let Ok(handle) = Handle::try_current() else { return };
    for (name, about, read) in RUNTIME {
        let metrics = handle.metrics();
        let _instrument = meter
            .u64_observable_gauge(name)
            .with_description(about)
            .with_callback(move |gauge| gauge.observe(read(&metrics) as u64, &[]))
            .build();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn allocator_and_runtime_tell_whenever_they_are_asked() {
        let metrics = Metrics::new().unwrap();
        let told = |name: &str| {
            let families = metrics.registry.gather();
            let family = families.iter().find(|family| family.name() == name);
            family.map(|family| family.get_metric()[0].get_gauge().get_value())
        };
        assert_eq!(told("tokio_workers"), Some(3.0));
        let before = told("tokio_tasks_alive").unwrap();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(ended);
        assert_eq!(told("tokio_tasks_alive"), Some(before + 1.0));
        drop(end);
        let _ = task.await.unwrap();
        assert!(told("tokio_global_queue_depth").is_some());
        let bytes = ["allocated", "active", "resident", "retained"]
            .map(|what| told(&format!("jemalloc_memory_{what}_bytes")).unwrap());
        assert!(bytes[0] <= bytes[1] && bytes[1] <= bytes[2], "{bytes:?}");
    }
}
