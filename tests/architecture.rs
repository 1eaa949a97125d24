//! The house rules that a compiler does not check: which way dependencies point, and that each module says what it is for.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

/// The crates in the order in which they may depend on one another: each only on those before it.
const ORDER: [(&str, &str); 4] = [
    ("projections", "millstream-projections"),
    ("processor", "millstream-processor"),
    ("replay", "millstream-replay"),
    (".", "millstream"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn manifest(folder: &str) -> toml::Table {
    let path = root().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dependencies(folder: &str) -> Vec<(String, toml::Value)> {
    let manifest = manifest(folder);
    let table = manifest.get("dependencies").and_then(toml::Value::as_table);
    table.into_iter().flatten().map(|(name, spec)| (name.clone(), spec.clone())).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn dependencies_point_one_way() {
    for (place, (folder, _)) in ORDER.iter().enumerate() {
        let later: Vec<&str> = ORDER[place + 1..].iter().map(|(_, name)| *name).collect();
        for (dependency, _) in dependencies(folder) {
            assert!(!later.contains(&dependency.as_str()), "{folder}/Cargo.toml depends on {dependency}");
        }
    }
}

#[test]
fn only_the_processor_and_the_demo_name_an_aws_sdk() {
    for folder in ["projections", "replay"] {
        for (dependency, _) in dependencies(folder) {
            assert!(!dependency.starts_with("aws"), "{folder}/Cargo.toml depends on {dependency}");
        }
    }
    // Of the CLI only the demo may, since it plays the services that own the tables.
    for (dependency, spec) in dependencies(".") {
        let optional = spec.get("optional").and_then(toml::Value::as_bool).unwrap_or(false);
        assert!(!dependency.starts_with("aws") || optional, "{dependency} is not behind the feature `demo`");
    }
    for path in sources(&root().join("src")) {
        let demo = path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("demo"));
        let text = fs::read_to_string(&path).expect("a readable source");
        assert!(demo || !text.contains("aws_sdk_"), "{} names an AWS SDK", path.display());
    }
}

#[test]
fn projections_do_no_io() {
    for path in sources(&root().join("projections/src")) {
        let text = fs::read_to_string(&path).expect("a readable source");
        for banned in ["std::fs", "std::env::", "std::net", "SystemTime::now", "Instant::now", "tokio::"] {
            assert!(!text.contains(banned), "{} uses {banned}", path.display());
        }
    }
}

#[test]
fn every_module_says_first_what_it_is_for() {
    for folder in ["src", "projections/src", "processor/src", "replay/src", "tests"] {
        for path in sources(&root().join(folder)) {
            let text = fs::read_to_string(&path).expect("a readable source");
            assert!(text.starts_with("//! "), "{} does not begin with `//! `", path.display());
        }
    }
}

#[test]
fn files_stay_small() {
    for folder in ["src", "projections/src", "processor/src", "replay/src", "tests/support/src"] {
        for path in sources(&root().join(folder)) {
            let text = fs::read_to_string(&path).expect("a readable source");
            let lines = text.lines().take_while(|line| !line.contains("#[cfg(test)]")).count();
            assert!(lines <= 400, "{} has {lines} lines before its tests", path.display());
        }
    }
}
