//! AWS's own Runtime Interface Emulator runs the process, and the process answers it.

use std::path::Path;

use millstream_test_support::emulators::RuntimeInterfaceEmulator;
use serde_json::json;

use crate::deployment::{BOOTSTRAP, Deployment, borrowed};

#[tokio::test]
async fn the_emulator_of_aws_invokes_the_bootstrap() {
    let deployment = Deployment::orders().await;
    deployment.order("o1", 1).await;
    deployment.order("o2", 2).await;
    let mut env = borrowed(&deployment.env);
    env.extend([
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]);
    let emulator = RuntimeInterfaceEmulator::start(Path::new(BOOTSTRAP), &env).await;
    let (event, _) = deployment.event("Orders").await;
    let answer = emulator.invoke(&event).await;
    assert_eq!(answer, Ok(json!({ "batchItemFailures": [] })), "{}", emulator.output());
    assert_eq!(deployment.rows("Accounting").await, deployment.rows("Orders").await);
    let error = emulator.invoke(&json!({ "hello": 1 })).await.expect_err("no known event");
    assert!(error.message.contains("aws:dynamodb"), "{error:?}");
}
