//! The DynamoDB inside: dynoxide's HTTP server on a free port of this machine's loopback.

use std::io;
use std::thread;

use dynoxide::Database;
use tokio::sync::oneshot;

/// A DynamoDB with streams that lives as long as this value.
pub(crate) struct Server {
    url: String,
    /// Dropped with the server, which is what ends it.
    _stop: oneshot::Sender<()>,
}

impl Server {
    /// Starts an empty one. It answers from the moment this returns.
    pub(crate) fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let database = Database::memory().map_err(io::Error::other)?;
        let (stop, stopped) = oneshot::channel::<()>();
        // Its calls block. On a thread of its own they never hold up the pipeline.
        thread::Builder::new()
            .name("dynamodb".to_owned())
            .spawn(move || serve(listener, database, stopped))?;
        Ok(Self { url, _stop: stop })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

fn serve(listener: std::net::TcpListener, database: Database, stopped: oneshot::Receiver<()>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
        // Nobody ever sends: the channel ends when the server is dropped.
        let stop = async { drop(stopped.await) };
        let _ = dynoxide::server::serve_with_shutdown(listener, database, stop).await;
    });
}
