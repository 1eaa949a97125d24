//! A Lambda function for the tests of this crate: each event says what it shall do.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if std::env::var_os("DIE_AT_START").is_some() {
        std::process::exit(3);
    }
    println!("{}", json!({"started": std::env::var("GREETING").unwrap_or_default()}));
    lambda_runtime::run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    match event.payload["do"].as_str() {
        Some("fail") => Err("it failed".into()),
        Some("exit") => std::process::exit(4),
        Some("hang") => std::future::pending().await,
        _ => {
            println!("{}", json!({"seen": event.payload}));
            Ok(json!({"echo": event.payload, "deadline": event.context.deadline}))
        }
    }
}
