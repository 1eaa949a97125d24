//! What `apply` does when it is stopped by hand, and when nobody reads what it says.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::terminal::{Demo, page, terminal};

/// A terminal beside a demo with twenty letters, whose config is mended.
fn mended(demo: &Demo, command: &str) -> Command {
    let setup = "CONFIG=$(mktemp)\nsed '/^\\[projection.orders-for-accounting\\]/,/^set/ s/\"{total}\"/\"{total?}\"/' \
                 demo/millstream.toml > \"$CONFIG\"\nexport MILLSTREAM_CONFIG=\"$CONFIG\"";
    let script = format!("{}\n{setup}\n{command}\n", demo.exports.join("\n"));
    let mut shell = terminal("sh");
    shell.args(["-eu", "-c", &script]);
    shell
}

fn run(demo: &Demo, command: &str) -> Output {
    mended(demo, command).output().expect("a shell starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Ctrl-C, for a process that is alone in its terminal.
fn interrupt(child: &Child) {
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.expect("there is a `kill`").success());
}

#[test]
fn what_is_stopped_by_hand_says_how_much_is_left_and_goes_on() {
    let demo = Demo::start(&page("REPLAY.md"), &["--changes", "20"], "");
    let command = "exec millstream replay apply --yes --json --rate 1/h";
    let mut child = mended(&demo, command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.as_mut().expect("a shell starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output is ours"));
    let mut first = String::new();
    // The first letter is done and told at once; the second one would be an hour later.
    lines.read_line(&mut first).expect("a line");
    assert!(first.contains("replayed"), "{first}");
    interrupt(child);
    let (mut rest, mut complaints) = (String::new(), String::new());
    lines.read_to_string(&mut rest).expect("the summary");
    child.stderr.take().expect("it is ours").read_to_string(&mut complaints).expect("text");
    assert_eq!(child.wait().expect("it is ours").code(), Some(1), "{complaints}");
    assert!(complaints.ends_with("error: stopped before the end: 19 letters left\n"), "{complaints}");
    assert!(rest.contains("\"stopped\":\"stopped; the same command goes on\""), "{rest}");

    // Nobody reads more than the first line, on neither side: the work is done all the same.
    let output = run(&demo, "(millstream replay apply --yes --json; echo code $? >&2) | head -n 1");
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!((said.lines().count(), told.as_str()), (1, "code 0\n"), "{said}");

    // What is done is not asked about.
    let output = run(&demo, "millstream replay apply --state replayed");
    let told = text(&output.stderr);
    assert_eq!(
        (output.status.code(), told.as_str()),
        (Some(0), "nothing to replay: no letter of this selection waits\n")
    );
}

#[test]
fn nobody_listening_to_complaints_is_no_panic() {
    let demo = Demo::start(&page("REPLAY.md"), &["--changes", "20"], "");
    for (command, code) in [("list --projection nobody", 2), ("list --state discarded", 0), ("show x", 2)] {
        let mut child = mended(&demo, &format!("exec millstream replay {command}"));
        let mut child = child.stderr(Stdio::piped()).spawn().expect("a shell starts");
        drop(child.stderr.take());
        assert_eq!(child.wait().expect("it is ours").code(), Some(code), "{command}");
    }
}

#[test]
fn a_file_that_is_no_text_keeps_no_other_back() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-text");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("a.json"), b"caf\xe9").expect("a file");
    std::fs::write(folder.join("b.json"), "{}").expect("a file");
    let demo = Demo::start(&page("REPLAY.md"), &["--changes", "20"], "");
    let output = run(&demo, &format!("millstream replay import '{}'", folder.display()));
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("a.json: ") && told.contains("b.json: "), "{told}");
    assert!(told.ends_with("2 documents could not be imported whole\n"), "{told}");
    let output = run(&demo, "millstream replay import nowhere.json");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}
