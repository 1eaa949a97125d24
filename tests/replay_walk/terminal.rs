//! A page whose blocks of shell are run as they stand there, in a terminal beside a demo that is up.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::{env, fs};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};

/// Stands between the outputs of two blocks.
const MARK: &str = "-- the next block --";
/// Where the pages let the emulator listen.
const EMULATOR: &str = "http://127.0.0.1:4566";

/// What a page's blocks of shell said, one after another.
pub(crate) struct Walk {
    pub(crate) outputs: Vec<String>,
    /// What was told on the side.
    pub(crate) complaints: String,
    /// Up until the walk is judged.
    pub(crate) demo: Demo,
}

/// The terminal in which the demo runs.
pub(crate) struct Demo {
    child: Child,
    /// Stays open: a demo that nobody listens to ends.
    lines: Lines<BufReader<ChildStdout>>,
    /// What it said before it began to follow.
    pub(crate) story: String,
    /// What it says to paste into the next terminal.
    pub(crate) exports: Vec<String>,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program in the folder of the repository, with the binary on its path and nothing of this machine's AWS.
pub(crate) fn terminal(program: &str) -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_millstream")).parent().expect("a binary is in a folder");
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([binary.to_owned()].into_iter().chain(env::split_paths(&path)));
    let mut command = Command::new(program);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("PATH", path.expect("a path of folders"));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let ours = ["AWS_", "MILLSTREAM_", "COMPANY_", "LETTERS_", "PREFIX", "STAGE"];
        if ours.iter().any(|start| text.starts_with(start)) {
            command.env_remove(&name);
        }
    }
    command.env("TMPDIR", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// The fenced blocks of the page in a language, in their order.
fn blocks(page: &str, language: &str) -> Vec<String> {
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

/// A page of the folder `demo`.
pub(crate) fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Demo {
    /// Starts the demo as the page says, with more arguments, and with the emulator at another address.
    pub(crate) fn start(page: &str, more: &[&str], emulator: &str) -> Self {
        let blocks = blocks(page, "");
        let command = blocks.iter().find(|block| block.starts_with("millstream demo "));
        let command = command.expect("a terminal runs the demo").replace(EMULATOR, emulator);
        let mut words = command.split(' ');
        let mut command = terminal(words.next().expect("a program"));
        let mut child =
            command.args(words).args(more).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output is ours")).lines();
        let (mut exports, mut story) = (Vec::new(), String::new());
        for line in lines.by_ref().map_while(Result::ok) {
            if line.trim().starts_with("export ") {
                exports.push(line.trim().to_owned());
            }
            story.push_str(&line);
            story.push('\n');
            if line.starts_with("What Millstream does") {
                break;
            }
        }
        assert!(!exports.is_empty(), "the demo did not come up: {story}");
        Self { child, lines, story, exports }
    }

    /// Waits until it says something.
    pub(crate) fn hear(&mut self, words: &str) {
        let mut lines = self.lines.by_ref().map_while(Result::ok);
        assert!(lines.any(|line| line.contains(words)), "the demo ended and never said {words:?}");
    }

    /// Ctrl-C; gives what it said since, and how it ended.
    pub(crate) fn stop(mut self) -> (String, ExitStatus) {
        let killed = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(killed.expect("there is a `kill`").success());
        let lines: Vec<String> = self.lines.by_ref().map_while(Result::ok).collect();
        (lines.join("\n"), self.child.wait().expect("it is ours"))
    }

    /// A client of its DynamoDB.
    pub(crate) fn client(&self) -> Client {
        let url = self.exports.iter().flat_map(|line| line.split(' '));
        let url = url.filter_map(|word| word.strip_prefix("AWS_ENDPOINT_URL=")).next();
        let credentials = Credentials::new("demo", "demo", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(url.expect("it says where it is"))
            .credentials_provider(SharedCredentialsProvider::new(credentials));
        Client::new(&config.build())
    }
}

impl Walk {
    /// Runs the page's shell beside the demo.
    pub(crate) fn run(page: &str, demo: Demo) -> Self {
        let script = blocks(page, "sh").join(&format!("\necho '{MARK}'\n"));
        let script = format!("{}\n{script}\n", demo.exports.join("\n"));
        let output = terminal("sh").args(["-eu", "-c", &script]).output().expect("a shell starts");
        let said = String::from_utf8(output.stdout).expect("text");
        let complaints = String::from_utf8(output.stderr).expect("text");
        assert!(output.status.success(), "{said}\n{complaints}");
        let outputs = said.split(&format!("{MARK}\n")).map(str::to_owned).collect();
        Self { outputs, complaints, demo }
    }
}

/// The number before some words, 0 where they are not said.
pub(crate) fn number(text: &str, words: &str) -> usize {
    let Some(end) = text.find(&format!(" {words}")) else { return 0 };
    let start = text[..end].rfind([' ', '\n']).map_or(0, |space| space + 1);
    text[start..end].parse().unwrap_or_else(|error| panic!("{words}: {error} in {text}"))
}
