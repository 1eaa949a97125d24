//! The runbook: a section for each alarm and rule, and commands that there are.

use std::collections::BTreeSet;
use std::env;
use std::process::Command;

use millstream_test_support::tools;

use crate::watching::rules;
use crate::workbench::{Verdict, ask, blocks, folder, path, resources, said, text, yaml};

/// What the page defines, and what a reader puts in.
const GIVEN: &str = "export STAGE=dev MILLSTREAM_CONFIG=a COMPANY_EVENTS_QUEUE=b ID=0 undelivered=c handle=d body=e; \
     output() { echo arn:aws:sqs:eu-west-1:000000000000:value; };";

fn alarms() -> Vec<String> {
    let template = yaml("infra/alarms.yaml");
    resources(&template, "AWS::CloudWatch::Alarm").into_iter().map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn every_alarm_and_rule_has_one_section_that_says_what_to_do() {
    let page = text("infra/RUNBOOK.md");
    let mut told = Vec::new();
    for section in page.split("\n## ").skip(1) {
        let (heading, rest) = section.split_once('\n').expect("a section has a heading");
        let rest = rest.split("\n# ").next().unwrap_or(rest);
        told.extend(heading.split(" and ").map(str::to_owned));
        for part in ["**Means**", "**Look**", "**mend**"] {
            assert!(rest.to_lowercase().contains(&part.to_lowercase()), "{heading} lacks {part}");
        }
        assert!(!blocks(rest, "sh").is_empty(), "{heading} has no command");
    }
    let known: Vec<String> = alarms().into_iter().chain(rules()).collect();
    assert_eq!(told.len(), known.len(), "{told:?}");
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), known.into_iter().collect());
}

/// The commands of a page that begin with a program, as they stand there.
pub(crate) fn commands<'a>(page: &'a [String], program: &str) -> Vec<&'a str> {
    let commands =
        page.iter().flat_map(|block| block.lines()).flat_map(|line| line.trim_start().split(" && "));
    commands.filter(|command| command.starts_with(&format!("{program} "))).collect()
}

/// Lets a program read a command without doing it.
fn reads(command: &str, instead: &str) -> Verdict {
    let millstream = path(env!("CARGO_BIN_EXE_millstream"));
    let folders = [millstream.parent().expect("a binary is in a folder").to_owned(), tools::sam()];
    let path_variable = env::var_os("PATH").unwrap_or_default();
    let folders = env::join_paths(folders.into_iter().chain(env::split_paths(&path_variable)));
    let mut shell = Command::new("sh");
    // Some commands make a file.
    let folder = folder();
    shell.arg("-euc").arg(format!("{GIVEN} {command} {instead}")).current_dir(folder.path());
    shell.env("PATH", folders.expect("a path of folders")).env("AWS_DEFAULT_REGION", "eu-west-1");
    ask(shell.env("SAM_CLI_TELEMETRY", "0"))
}

#[test]
fn every_command_of_the_pages_is_one_that_there_is() {
    let mut counts = Vec::new();
    for page in ["infra/RUNBOOK.md", "infra/README.md", "README.md"] {
        let page = blocks(&text(page), "sh");
        // `--help` after the rest: what stands before it has to be known. The AWS CLI prints a skeleton in place of asking.
        for (program, instead) in
            [("millstream", "--help"), ("sam", "--help"), ("aws", "--generate-cli-skeleton")]
        {
            let commands = commands(&page, program);
            counts.push(commands.len());
            for command in commands {
                let command = command.split(" #").next().unwrap_or(command);
                // What does without a service has no skeleton.
                let is_waiting = command.starts_with("aws cloudformation wait ");
                let instead = if is_waiting { "help >/dev/null; true" } else { instead };
                let verdict = reads(command, instead);
                assert!(verdict.is_content, "{command}: {}{}", verdict.said, verdict.complained);
            }
        }
    }
    assert!(counts[0] > 10 && counts[2] > 5, "{counts:?}");
}

/// Who mends may sit where the service runs, which holds the port already.
#[test]
fn a_worker_that_mends_listens_elsewhere() {
    let page = blocks(&text("infra/RUNBOOK.md"), "sh");
    let commands = commands(&page, "millstream");
    let workers: Vec<&str> = commands.into_iter().filter(|it| it.starts_with("millstream run")).collect();
    assert!(workers.len() >= 4, "{workers:?}");
    assert!(workers.iter().all(|it| it.contains(" --listen 127.0.0.1:0")), "{workers:?}");
}

/// What asks no service is typed as it stands on the page.
#[test]
fn the_commands_for_a_config_of_your_own_print_what_they_say() {
    let [three, ..] = &blocks(&text("infra/README.md"), "sh")[..] else { panic!("it begins with commands") };
    let programs = path(env!("CARGO_BIN_EXE_millstream"));
    let mut shell = Command::new("/bin/sh");
    shell.args(["-euc", three]).current_dir(path("")).env_clear();
    let told = said(shell.env("PATH", programs.parent().expect("a binary is in a folder")));
    for part in [
        "ReportBatchItemFailures",
        "dev-millstream-stream-failures",
        "# operator",
        "infra/template.yaml: 0 warnings",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn a_command_that_is_none_is_named() {
    for (command, instead) in [
        ("millstream replay aply", "--help"),
        ("millstream status --projection x", "--help"),
        ("sam deploy --tempate x", "--help"),
        ("aws sqs start-message-move-tasks --source-arn x", "--generate-cli-skeleton"),
        ("aws logs filter-log-events --log-group x --filter y", "--generate-cli-skeleton"),
    ] {
        assert!(!reads(command, instead).is_content, "{command}");
    }
}
