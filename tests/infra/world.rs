//! A database, and a small config: what the poller and the function count on.

use std::ops::Range;
use std::process::Command;
use std::time::SystemTime;

use millstream_test_support::embedded::{Embedded, StreamViewType};
use millstream_test_support::served::Served;
use serde_json::json;
use tempfile::TempDir;

use crate::workbench::{folder, said, write};

const CONFIG: &str = r#"
[source.orders]
table = "Orders"
[state]
prefix = "t-"
[projection.rows]
kind = "replica"
from = "orders"
table = "Rows"
key = { orderId = "{orderId}" }
set = { revision = "{revision}" }
"#;

/// A database on a socket, and a folder with a config.
pub(crate) struct World {
    pub(crate) database: Embedded,
    pub(crate) served: Served,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = Embedded::new();
        database.set_now(SystemTime::now());
        database.create_table("Orders", "orderId", None, Some(StreamViewType::NewAndOldImages)).await;
        database.create_table("Rows", "orderId", None, None).await;
        let world = Self { served: database.serve().await, database, folder: folder() };
        write(&world.folder.path().join("millstream.toml"), CONFIG);
        world.millstream("setup").await;
        world
    }

    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command.args(arguments.split_whitespace()).args(["--endpoint", self.served.endpoint()]);
        command.current_dir(self.folder.path());
        for (name, _) in std::env::vars_os() {
            if ["AWS_", "MILLSTREAM_"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
                command.env_remove(&name);
            }
        }
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command.env("AWS_REGION", "eu-west-1");
        command
    }

    /// Runs a command that ends by itself. The database answers meanwhile.
    pub(crate) async fn millstream(&self, arguments: &str) -> String {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || said(&mut command)).await.expect("it is content")
    }

    /// Writes each of these orders twice, so that the second change stands for the first.
    pub(crate) async fn write(&self, orders: Range<u32>) {
        for revision in 1..=2 {
            for order in orders.clone() {
                self.database
                    .put("Orders", json!({ "orderId": format!("o{order}"), "revision": revision }))
                    .await;
            }
        }
    }

    /// Writes an order that the projection cannot project: it becomes a letter.
    pub(crate) async fn write_poison(&self) {
        self.database.put("Orders", json!({ "orderId": "without a revision" })).await;
    }
}
