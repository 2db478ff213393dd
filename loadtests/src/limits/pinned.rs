//! Work on chosen cores, in a thread of its own that ends with it: a thread that is used again would stay pinned.

use anyhow::Context;
use tokio::sync::oneshot;

use crate::realtime;

/// Does `work` on `cores`; what it starts runs there too.
pub async fn on_cores<T: Send + 'static>(
    cores: &[usize],
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let (cores, (done, result)) = (cores.to_vec(), oneshot::channel());
    std::thread::Builder::new().name("pinned".into()).spawn(move || {
        // Nobody waits any more: then the result is of no use.
        let _ = done.send(realtime::pin(&cores).and_then(|()| work()));
    })?;
    result.await.context("a measuring thread panicked")?
}
