//! A function that cannot start says why; a wrong event says what would be right.

use std::path::Path;

use millstream_test_support::runtime_api::{Function, FunctionError, RuntimeApi};
use serde_json::json;

use crate::deployment::{BOOTSTRAP, Deployment, invoke};

async fn start_with(config: &Path) -> Function {
    let config = config.to_str().expect("the temporary folder has a plain name");
    RuntimeApi::start().await.spawn(Path::new(BOOTSTRAP), &[("MILLSTREAM_CONFIG", config)])
}

/// What Lambda is told, and what the log says.
async fn refusal(config: &Path) -> (FunctionError, String) {
    let function = start_with(config).await;
    let error = function.ready().await.expect_err("it cannot start");
    let log: Vec<String> = function.lines().into_iter().map(|line| line.text).collect();
    (error, log.join("\n"))
}

#[tokio::test]
async fn a_missing_config_file_is_named() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let path = folder.path().join("nowhere.toml");
    let (error, log) = refusal(&path).await;
    let path = path.display().to_string();
    assert!(error.message.contains(&path), "{error:?}");
    assert!(log.contains(&path), "{log}");
}

#[tokio::test]
async fn an_invalid_config_is_told_with_file_line_and_key() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let path = folder.path().join("millstream.toml");
    let toml = "[source.orders]\ntable = \"Orders\"\n\n[pipeline]\nconcurency = 3\n";
    std::fs::write(&path, toml).expect("the temporary folder is writable");
    let (error, log) = refusal(&path).await;
    for text in [&error.message, &log] {
        assert!(text.contains("millstream.toml:5"), "{text}");
        assert!(text.contains("concurency") && text.contains("concurrency"), "{text}");
    }
}

#[tokio::test]
async fn an_unknown_event_is_refused_with_the_shapes_that_are_known() {
    let deployment = Deployment::orders().await;
    let function = deployment.start().await;
    for event in [json!({ "hello": 1 }), json!({ "Records": [{ "eventSource": "aws:kinesis" }] }), json!(7)] {
        let error = invoke(&function, &event).await.expect_err("no known event");
        for shape in ["aws:dynamodb", "aws:sqs", "aws:sns"] {
            assert!(error.message.contains(shape), "{error:?}");
        }
    }
    deployment.order("o1", 1).await;
    let (event, _) = deployment.event("Orders").await;
    assert_eq!(invoke(&function, &event).await, Ok(json!({ "batchItemFailures": [] })), "it still works");
}
