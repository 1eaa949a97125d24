//! `millstream policy` at its edge: what is printed, for whom, and what is refused.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail their test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const DEMO: &str = "demo/millstream.toml";

fn millstream(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.arg("policy").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env_remove("MILLSTREAM_CONFIG").output().unwrap()
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// What a command prints is what the file says; MILLSTREAM_GOLDEN=write writes the file.
fn golden(name: &str, printed: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var("MILLSTREAM_GOLDEN").is_ok_and(|it| it == "write") {
        fs::write(&path, printed).unwrap();
    }
    assert_eq!(printed, fs::read_to_string(&path).unwrap(), "{}", path.display());
}

#[test]
fn one_role_is_a_document_as_aws_takes_it() {
    let output = millstream(&["--config", DEMO, "--role", "queue-function"]);
    let (printed, told) = said(&output);
    assert!(output.status.success(), "{told}");
    golden("policy-queue-function.json", &printed);
    assert!(told.contains("in region eu-west-1") && told.contains("--account says otherwise"), "{told}");
}

#[test]
fn for_a_template_it_is_yaml_with_the_place_of_the_stack() {
    let output = millstream(&["--config", DEMO, "--role", "queue-function", "--cloudformation"]);
    let (printed, told) = said(&output);
    assert_eq!(told, "");
    golden("policy-queue-function.yaml", &printed);
}

#[test]
fn several_roles_are_one_object_and_setup_is_none_of_them() {
    let (printed, _) = said(&millstream(&["--config", DEMO]));
    let policies: Value = serde_json::from_str(&printed).unwrap();
    let mut roles: Vec<&String> = policies.as_object().unwrap().keys().collect();
    roles.sort();
    assert_eq!(roles, ["operator", "poller", "queue-function", "stream-function"]);
    for (role, policy) in policies.as_object().unwrap() {
        let (alone, _) = said(&millstream(&["--config", DEMO, "--role", role]));
        assert_eq!(serde_json::from_str::<Value>(&alone).unwrap(), *policy, "{role}");
        let size = policy.to_string().len();
        assert!(size < 6_144, "the policy of {role} has {size} characters, a managed policy holds 6,144");
    }
}

/// All that a policy grants, as text.
fn printed(toml: &str, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.toml");
    fs::write(&path, toml).unwrap();
    let output = millstream(&[&["--config", path.to_str().unwrap()], arguments].concat());
    let (printed, told) = said(&output);
    assert!(output.status.success(), "{told}");
    printed + &told
}

const TWO: &str = "\
[source.a]
table = 'TableA'
[source.b]
table = 'TableB'
[projection.pa]
kind = 'replica'
from = 'a'
table = 'RowsOfA'
key = { id = '{id}' }
[projection.pb]
kind = 'emit'
from = 'b'
topic = 'arn:aws:sns:eu-west-1:111111111111:events'
";

#[test]
fn a_place_is_told_agreed_on_or_left_open() {
    for (toml, arguments, expected) in [
        (TWO, &[][..], "arn:aws:dynamodb:eu-west-1:111111111111:table/RowsOfA\""),
        (
            TWO,
            &["--region", "cn-north-1", "--account", "222222222222"],
            "arn:aws-cn:dynamodb:cn-north-1:222222222222:table/RowsOfA\"",
        ),
        (
            TWO,
            &["--region", "us-gov-west-1"],
            "arn:aws-us-gov:dynamodb:us-gov-west-1:111111111111:table/TableA/stream/*\"",
        ),
        // A topic of another account says nothing of the tables.
        (
            &TWO.replace(
                "[projection.pb]",
                "[source.q]\nqueue = 'https://sqs.eu-west-1.amazonaws.com/333333333333/q'\n[projection.pb]",
            ),
            &[],
            "arn:aws:dynamodb:eu-west-1:${AWS::AccountId}:table/RowsOfA\"",
        ),
        (
            TWO.split("[projection.pb]").next().unwrap(),
            &[],
            "arn:aws:dynamodb:${AWS::Region}:${AWS::AccountId}:table/RowsOfA\"",
        ),
        (
            TWO.split("[projection.pb]").next().unwrap(),
            &["--cloudformation"],
            "!Sub \"arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/RowsOfA\"",
        ),
        (
            TWO,
            &["--cloudformation"],
            "!Sub \"arn:${AWS::Partition}:sns:${AWS::Region}:${AWS::AccountId}:events\"",
        ),
        // Another account's topic stays where it is.
        (
            TWO,
            &["--cloudformation", "--account", "222222222222"],
            "- arn:aws:sns:eu-west-1:111111111111:events\n",
        ),
    ] {
        let page = printed(toml, &[&["--role", "stream-function"], arguments].concat());
        assert!(page.contains(expected), "{arguments:?}: `{expected}` is missing in\n{page}");
    }
}

#[test]
fn a_function_of_its_own_for_a_source() {
    let of_a = printed(TWO, &["--role", "stream-function", "--source", "a"]);
    assert!(of_a.contains("table/RowsOfA") && of_a.contains("table/TableA/stream/*"), "{of_a}");
    for other in ["sns:Publish", "table/TableB/"] {
        assert!(!of_a.contains(other), "{other} is no business of a: {of_a}");
    }
}

#[test]
fn what_is_asked_wrongly_is_said() {
    for (arguments, expected) in [
        (&["--config", "demo/none.toml"][..], "cannot read the config file demo/none.toml"),
        (
            &["--config", DEMO, "--source", "order"],
            "there is no source `order`; known are `companies`, `company-events`, `orders`",
        ),
        (
            &["--config", DEMO, "--role", "queue-function", "--source", "orders"],
            "demo/millstream.toml has no work for the role queue-function: it reads queues and topics",
        ),
        (&["--config", DEMO, "--account", "1"], "an account has 12 digits"),
        (
            &["--config", DEMO, "--on-failure", "failures"],
            "`failures` is not the ARN of an SQS queue, an SNS topic or an S3 bucket",
        ),
    ] {
        let output = millstream(arguments);
        let (printed, told) = said(&output);
        assert_eq!((output.status.code(), printed.as_str()), (Some(2), ""), "{arguments:?}: {told}");
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
}

#[test]
fn a_migration_is_asked_for_with_its_lease_table() {
    let policy = printed(TWO, &["--role", "migration", "--lease-table", "two-app"]);
    let expected = "arn:aws:dynamodb:eu-west-1:111111111111:table/two-app\"";
    assert!(policy.contains(expected) && policy.contains("dynamodb:Scan"), "{policy}");
    for arguments in [&["--role", "migration"][..], &["--role", "operator", "--lease-table", "two-app"]] {
        let output = millstream(&[&["--config", DEMO], arguments].concat());
        let (printed, told) = said(&output);
        assert_eq!((output.status.code(), printed.as_str()), (Some(2), ""), "{told}");
        assert!(told.contains("the role migration and --lease-table go together"), "{told}");
    }
}

#[test]
fn what_is_more_than_iam_takes_is_said() {
    let projection = |number: usize| {
        format!(
            "[projection.p{number}]\nkind = 'replica'\nfrom = 'things'\ntable = 'ReadModelNumber{number:04}'\nkey = {{ id = '{{id}}' }}\n"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.toml");
    for (projections, cloudformation, expected) in [
        (10, false, None),
        (
            90,
            false,
            Some("more than IAM takes in a managed policy, 6144; inline a role can have 10240: --source"),
        ),
        (90, true, Some("inline a role can have 10240")),
        (190, false, Some("more than IAM takes in a managed policy, 6144, or inline, 10240: --source")),
    ] {
        let all: String = (0..projections).map(projection).collect();
        fs::write(&path, format!("[source.things]\ntable = 'Things'\n{all}")).unwrap();
        let mut arguments = vec!["--config", path.to_str().unwrap(), "--role", "stream-function"];
        match cloudformation {
            true => arguments.push("--cloudformation"),
            false => arguments.extend(["--region", "eu-west-1", "--account", "111111111111"]),
        }
        let output = millstream(&arguments);
        let (printed, told) = said(&output);
        assert!(output.status.success(), "{told}");
        assert!(printed.contains("ReadModelNumber0009"), "{printed}");
        match expected {
            None => assert_eq!(told, "", "{projections}"),
            Some(expected) => assert!(told.contains(expected), "{projections}: {told}"),
        }
    }
}
