//! A real `lambda_runtime` process behind the Runtime API, and behind AWS's own emulator.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use millstream_test_support::emulators::{Ministack, RuntimeInterfaceEmulator};
use millstream_test_support::runtime_api::RuntimeApi;
use serde_json::json;

const MINUTE: Duration = Duration::from_secs(60);

/// `cargo test` builds the examples beside the tests.
fn bootstrap() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    deps.ancestors().nth(2).unwrap().join("examples/function")
}

#[tokio::test]
async fn a_process_answers_fails_dies_and_is_started_again() {
    let function = RuntimeApi::start().await.spawn(&bootstrap(), &[("GREETING", "hello")]);
    function.ready().await.unwrap();
    let answer = function.invoke(&json!({"n": 1}), MINUTE).await.unwrap();
    assert_eq!(answer["echo"], json!({"n": 1}));
    assert!(answer["deadline"].as_u64().unwrap() > 1_750_000_000_000);
    let line = function.line(|it| it.text.contains("seen")).await;
    assert!(!line.is_error);
    assert!(function.lines().iter().any(|it| it.text.contains("hello")));
    // Linux counts both roughly, and the process grows between two readings: they are not compared.
    assert!(function.resident_kib() > 500 && function.peak_resident_kib() > 500);

    let failed = function.invoke(&json!({"do": "fail"}), MINUTE).await.unwrap_err();
    assert_eq!(failed.message, "it failed");
    let died = function.invoke(&json!({"do": "exit"}), MINUTE).await.unwrap_err();
    assert_eq!(died.error_type, "Runtime.ExitError");
    assert!(died.message.contains("exit status: 4"), "{died:?}");
    let late = function.invoke(&json!({"do": "hang"}), Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(late.error_type, "Sandbox.Timedout");
    assert!(function.invoke(&json!({"n": 2}), MINUTE).await.is_ok());
}

#[tokio::test]
async fn a_process_that_dies_at_start_is_an_error() {
    let function = RuntimeApi::start().await.spawn(&bootstrap(), &[("DIE_AT_START", "1")]);
    let died = function.invoke(&json!({}), MINUTE).await.unwrap_err();
    assert!(died.message.contains("exit status: 3"), "{died:?}");
    assert!(function.ready().await.is_err());
}

#[tokio::test]
async fn the_emulator_of_aws_runs_the_same_process() {
    let emulator = RuntimeInterfaceEmulator::start(&bootstrap(), &[("GREETING", "hello")]).await;
    let answer = emulator.invoke(&json!({"n": 1})).await.unwrap();
    assert_eq!(answer["echo"], json!({"n": 1}));
    let failed = emulator.invoke(&json!({"do": "fail"})).await.unwrap_err();
    assert_eq!(failed.message, "it failed");
    assert!(emulator.output().contains("hello"));
}

#[tokio::test]
async fn ministack_serves_and_forgets() {
    let ministack = Ministack::start().await;
    let sns = aws_sdk_sns::Client::new(&ministack.sdk_config());
    sns.create_topic().name("orders").send().await.unwrap();
    assert_eq!(sns.list_topics().send().await.unwrap().topics().len(), 1);
    ministack.reset().await;
    assert_eq!(sns.list_topics().send().await.unwrap().topics().len(), 0);
    let dynamodb = aws_sdk_dynamodb::Client::new(&ministack.sdk_config());
    let missing =
        dynamodb.get_item().table_name("none").key("id", AttributeValue::S("1".into())).send().await;
    assert!(missing.unwrap_err().into_service_error().is_resource_not_found_exception());
}
