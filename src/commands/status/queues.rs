//! What `status` tells of queues: how many messages each has. Who reads them, SQS does not know.

use std::sync::Arc;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use millstream_processor::host::poll::{self, QueueDepth};
use millstream_processor::wiring::Aws;
use millstream_projections::config::Config;
use serde::Serialize;

use super::page::plain;

/// One source that is a queue.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueueView {
    pub(super) source: String,
    pub(super) queue: Arc<str>,
    /// Approximately, as all of these; none where the queue cannot be asked.
    pub(super) depth: Option<DepthView>,
    /// Why there is nothing to tell, where that is so.
    pub(super) fault: Option<String>,
}

/// How many messages a queue has.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DepthView {
    pub(super) visible: u64,
    pub(super) in_flight: u64,
    pub(super) delayed: u64,
}

impl QueueView {
    fn new(found: QueueDepth) -> Self {
        let (depth, fault) = match found.depth {
            Ok(depth) => {
                let (visible, in_flight, delayed) = (depth.visible, depth.in_flight, depth.delayed);
                (Some(DepthView { visible, in_flight, delayed }), None)
            }
            Err(fault) => (None, Some(fault.to_string())),
        };
        Self { source: found.source.to_string(), queue: found.url, depth, fault }
    }
}

/// Asks every queue that is a source.
pub(super) async fn look(config: &Config, aws: &Aws) -> Vec<QueueView> {
    poll::queue_depths(config, aws).await.into_iter().map(QueueView::new).collect()
}

/// The queues as people read them; nothing where there are none.
pub(super) fn page(queues: &[QueueView]) -> String {
    if queues.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["source", "queue", "waiting", "in flight", "delayed"]);
    let mut faults = String::new();
    for queue in queues {
        let count = |of: fn(&DepthView) -> u64| {
            queue.depth.as_ref().map_or_else(|| "–".to_owned(), |depth| of(depth).to_string())
        };
        let counts = [count(|it| it.visible), count(|it| it.in_flight), count(|it| it.delayed)];
        let [visible, in_flight, delayed] = counts;
        let name = queue.queue.rsplit('/').next().unwrap_or(&queue.queue);
        table.add_row([queue.source.clone(), plain(name), visible, in_flight, delayed]);
        if let Some(fault) = &queue.fault {
            faults.push_str(&format!("source {}, queue {}: {}\n", queue.source, queue.queue, plain(fault)));
        }
    }
    format!("\nqueues, as SQS counts their messages\n{table}\n{faults}")
}
