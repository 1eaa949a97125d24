//! Runs the programs that judge `infra/`, and reads its files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use millstream_test_support::tools;
use serde_json::Value;
use tempfile::TempDir;

/// What a program said, and whether it was content.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) is_content: bool,
    pub(crate) said: String,
    pub(crate) complained: String,
}

/// Runs a program to its end.
pub(crate) fn ask(command: &mut Command) -> Verdict {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Verdict {
        is_content: output.status.success(),
        said: text(&output.stdout),
        complained: text(&output.stderr),
    }
}

/// Runs a program that has to be content; what it said.
pub(crate) fn said(command: &mut Command) -> String {
    let verdict = ask(command);
    assert!(verdict.is_content, "{command:?}:\n{}{}", verdict.said, verdict.complained);
    verdict.said
}

/// A file or folder of the repository.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The text of a file of the repository.
pub(crate) fn text(name: &str) -> String {
    let path = path(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A folder for what a test makes.
pub(crate) fn folder() -> TempDir {
    TempDir::new().expect("the temporary folder is writable")
}

/// Writes a file that a program is to read.
pub(crate) fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Makes a file of JSON of a file of YAML; of a SAM template, the CloudFormation that AWS makes of it.
pub(crate) fn translate(yaml: &Path, result: &Path) -> Verdict {
    let script = path("tests/infra/translate.py");
    ask(Command::new(tools::sam().join("python")).arg(script).arg(yaml).arg(result))
}

/// A file of YAML of the repository, as data; a SAM template translated. Each is read once.
pub(crate) fn yaml(name: &str) -> Value {
    static READ: Mutex<BTreeMap<String, Value>> = Mutex::new(BTreeMap::new());
    let mut read = READ.lock().expect("the file before could be read");
    read.entry(name.to_owned()).or_insert_with(|| parse(name)).clone()
}

fn parse(name: &str) -> Value {
    let folder = folder();
    let result = folder.path().join("result.json");
    let verdict = translate(&path(name), &result);
    assert!(verdict.is_content, "{name}: {}", verdict.complained);
    let text = fs::read_to_string(&result).expect("the result was written");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The members of an object of a JSON document, which has to be one.
pub(crate) fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    members.iter().map(|(name, member)| (name.as_str(), member))
}

/// The elements of a list; of anything else, itself alone, as CloudFormation reads it.
pub(crate) fn elements(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(elements) => elements.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

/// The resources of a template that are of a type: their names, and all that is said of them.
pub(crate) fn resources<'a>(template: &'a Value, kind: &str) -> Vec<(&'a str, &'a Value)> {
    members(&template["Resources"]).filter(|(_, resource)| resource["Type"] == kind).collect()
}

/// The fenced blocks of a page in a language, in their order.
pub(crate) fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(fence) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if fence == language {
            blocks.push(block.join("\n"));
        }
    }
    blocks
}

/// The part of a page below a heading, to the next one of its kind.
pub(crate) fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) =
        page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    rest.split("\n## ").next().unwrap_or(rest)
}
