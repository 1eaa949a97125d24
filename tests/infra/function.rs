//! The numbers that the function really tells: the `bootstrap` process under a Runtime API, and what it prints for CloudWatch.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use std::{env, path::Path, thread};

use millstream_test_support::lambda_event;
use millstream_test_support::runtime_api::RuntimeApi;
use serde_json::Value;

use crate::told::write_poison;
use crate::workbench::{path, said};
use crate::world::World;

/// A deadline that nothing here comes near.
const MINUTE: Duration = Duration::from_secs(60);
/// Where the function tells its numbers.
const NAMESPACE: &str = "Millstream";

/// The function of this very source.
pub(crate) fn bootstrap() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What `cargo test --workspace` has built already is not built again: the same packages, and the same features.
    cargo.args(["test", "--workspace", "--locked", "--no-run", "--test", "lambda"]).current_dir(path(""));
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    said(&mut cargo);
    Path::new(env!("CARGO_BIN_EXE_millstream")).with_file_name("bootstrap")
}

/// Each number that the function tells, with the dimensions by which CloudWatch finds it; it runs once.
pub(crate) fn told() -> &'static BTreeMap<String, BTreeSet<String>> {
    static TOLD: OnceLock<Option<BTreeMap<String, BTreeSet<String>>>> = OnceLock::new();
    // Tests call it with and without a runtime around them; what failed once fails at once when it is asked again.
    let run = || {
        let runtime = tokio::runtime::Runtime::new().expect("the system has threads");
        runtime.block_on(everything())
    };
    TOLD.get_or_init(|| thread::spawn(run).join().ok()).as_ref().expect("the function told all")
}

/// Lets it meet changes that stand for others, one that becomes a letter, and all of them once more.
async fn everything() -> BTreeMap<String, BTreeSet<String>> {
    let world = World::set_up().await;
    world.write(0..2).await;
    write_poison(&world).await;
    let config = world.folder.path().join("millstream.toml");
    let settings = [
        ("MILLSTREAM_CONFIG", config.to_str().expect("the temporary folder has a plain name")),
        ("AWS_ENDPOINT_URL_DYNAMODB", world.served.endpoint()),
    ];
    let function = RuntimeApi::start().await.spawn(&bootstrap(), &settings);
    let records = world.database.read_stream("Orders").await;
    let event = lambda_event::event(&world.database.stream_arn("Orders").await, &records);
    function.invoke(&event, MINUTE).await.expect("an answer");
    function.invoke(&event, MINUTE).await.expect("an answer");
    // What it tells of one invocation goes out before the next one: then the first has told all that it had.
    function.line(|line| line.text.contains("millstream_stale_total")).await;
    let mut told = BTreeMap::new();
    for line in function.lines() {
        let line: Value = serde_json::from_str(&line.text).expect("each line is JSON");
        for declared in line["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten() {
            assert_eq!(declared["Namespace"], NAMESPACE);
            let [dimensions] = &declared["Dimensions"].as_array().expect("a list")[..] else {
                panic!("one set of dimensions: {declared}")
            };
            for metric in declared["Metrics"].as_array().expect("a list") {
                let name = metric["Name"].as_str().expect("a name").to_owned();
                let words = dimensions.as_array().expect("a list").iter();
                let words = words.map(|it| it.as_str().expect("a name").to_owned()).collect();
                let before = told.insert(name, words);
                assert!(before.is_none_or(|before| before == told[metric["Name"].as_str().expect("a name")]));
            }
        }
    }
    told
}

#[test]
fn the_function_tells_what_the_poller_tells_but_for_what_only_a_poller_knows() {
    let told = told().keys().cloned().collect::<BTreeSet<_>>();
    let of_poller: BTreeSet<String> = crate::told::told().numbers.keys().cloned().collect();
    let missing: Vec<&String> = of_poller.difference(&told).collect();
    assert_eq!(
        missing,
        [
            "millstream_gap_total",
            "millstream_halted_shards",
            "millstream_letters",
            "millstream_oldest_letter_seconds"
        ]
    );
    assert_eq!(told.difference(&of_poller).count(), 0, "{told:?}");
}
