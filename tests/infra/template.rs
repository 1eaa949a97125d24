//! The templates: translated as AWS does it, then judged by cfn-lint and checkov; and faults that are planted in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use millstream_test_support::tools;
use serde_json::Value;

use crate::workbench::{ask, elements, folder, members, path, resources, said, text, translate, write, yaml};

const TEMPLATE: &str = "infra/template.yaml";
/// What is deployed beside it, and needs no translation.
const OTHERS: [&str; 3] = ["alarms.yaml", "dashboard.yaml", "ecs.yaml"];

/// A check, and the resource that it is about.
type Finding = (String, String);

/// What checkov, with the policies of the project, says of all templates in a folder.
struct Judged {
    failed: Vec<(String, Finding)>,
    skipped: BTreeSet<Finding>,
}

fn checkov(folder: &Path) -> Judged {
    let mut command = Command::new(tools::checkov().join("checkov"));
    command.args(["--framework", "cloudformation", "--skip-download", "--output", "json"]);
    command.arg("--external-checks-dir").arg(path("tests/infra/policies")).arg("--directory").arg(folder);
    let verdict = ask(&mut command);
    let report: Value = serde_json::from_str(&verdict.said)
        .unwrap_or_else(|error| panic!("{error}: {}{}", verdict.said, verdict.complained));
    assert_eq!(report["summary"]["parsing_errors"], 0, "{report}");
    let told = |field: &Value| field.as_str().expect("checkov tells it").to_owned();
    let finding = |check: &Value| {
        let resource = told(&check["resource"]);
        let name = resource.rsplit('.').next().unwrap_or_default().to_owned();
        (told(&check["check_id"]), name)
    };
    let all = |kind: &str| report["results"][kind].as_array().cloned().unwrap_or_default();
    let file = |check: &Value| told(&check["file_path"]).trim_start_matches('/').to_owned();
    Judged {
        failed: all("failed_checks").iter().map(|check| (file(check), finding(check))).collect(),
        skipped: all("skipped_checks").iter().map(finding).collect(),
    }
}

fn cfn_lint(files: &[&Path]) -> String {
    let verdict =
        ask(Command::new(tools::sam().join("cfn-lint")).args(["--format", "parseable"]).args(files));
    verdict.said + &verdict.complained
}

/// Permissions that are wider than a name: actions and principals with `*`, and any resource at all. X-Ray alone has no
/// resources that one could name.
fn wildcards(template: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (name, resource) in members(&template["Resources"]) {
        let properties = &resource["Properties"];
        let inline = elements(&properties["Policies"]).into_iter().map(|policy| &policy["PolicyDocument"]);
        let documents =
            inline.chain([&properties["PolicyDocument"], &properties["AssumeRolePolicyDocument"]]);
        for statement in documents.flat_map(|document| elements(&document["Statement"])) {
            let actions = elements(&statement["Action"]);
            let is_tracing =
                actions.iter().all(|action| action.as_str().is_some_and(|it| it.starts_with("xray:")));
            let wide = actions.iter().any(|action| action.as_str().is_none_or(|it| it.contains('*')))
                || elements(&statement["Resource"]).contains(&&Value::from("*")) && !is_tracing
                || statement["Principal"] == "*"
                || statement["Principal"]["AWS"] == "*";
            if wide {
                found.push(format!("{name}/{}", statement["Sid"].as_str().unwrap_or("?")));
            }
        }
    }
    found
}

/// What the metadata of a template's resources asks checkov to skip; each with its reason.
fn suppressed(template: &Value) -> BTreeSet<Finding> {
    let mut suppressed = BTreeSet::new();
    for (name, resource) in members(&template["Resources"]) {
        for skip in elements(&resource["Metadata"]["checkov"]["skip"]) {
            let id = skip["id"].as_str().expect("a suppression names its check");
            let reason = skip["comment"].as_str().unwrap_or_default();
            assert!(reason.split(' ').count() > 3, "{name} suppresses {id} without a reason");
            suppressed.insert((id.to_owned(), name.to_owned()));
        }
    }
    suppressed
}

#[test]
fn the_shipped_templates_satisfy_cfn_lint_and_checkov() {
    let folder = folder();
    let translated = folder.path().join("template.json");
    let verdict = translate(&path(TEMPLATE), &translated);
    assert!(verdict.is_content, "{}", verdict.complained);
    let mut files = vec![translated];
    let mut expected = suppressed(&yaml(TEMPLATE));
    for name in OTHERS {
        let copy = folder.path().join(name);
        fs::copy(path("infra").join(name), &copy).expect("the temporary folder is writable");
        files.push(copy);
        expected.extend(suppressed(&yaml(&format!("infra/{name}"))));
    }
    assert_eq!(cfn_lint(&files.iter().map(|file| &**file).collect::<Vec<_>>()), "");
    let judged = checkov(folder.path());
    assert_eq!(judged.failed, []);
    assert_eq!(judged.skipped, expected, "each suppression has something to suppress");
}

#[test]
fn no_permission_is_wider_than_a_name() {
    for name in ["template.yaml", "alarms.yaml"] {
        assert_eq!(wildcards(&yaml(&format!("infra/{name}"))), [""; 0], "{name}");
    }
}

#[test]
fn tables_stay_when_the_stack_goes_and_parameters_have_limits() {
    let template = yaml(TEMPLATE);
    let tables = resources(&template, "AWS::DynamoDB::Table");
    assert_eq!(tables.len(), 9);
    for (name, table) in tables {
        assert_eq!(
            (&table["DeletionPolicy"], &table["UpdateReplacePolicy"]),
            (&"Retain".into(), &"Retain".into()),
            "{name}"
        );
        assert_eq!(table["Properties"]["SSESpecification"]["SSEEnabled"], true, "{name}");
    }
    for (name, parameter) in members(&template["Parameters"]) {
        let limits = ["AllowedPattern", "AllowedValues", "MinValue"];
        assert!(limits.iter().any(|limit| !parameter[limit].is_null()), "parameter {name} takes anything");
    }
}

/// What is done to the template, and what is to be found then.
struct Fault {
    name: &'static str,
    from: &'static str,
    to: &'static str,
    checkov: &'static [(&'static str, &'static str)],
}

const FAULTS: [Fault; 6] = [
    Fault {
        name: "a stream without bisect",
        from: "            BisectBatchOnFunctionError: true\n",
        to: "",
        checkov: &[("CKV2_MILLSTREAM_1", "StreamFunctionOrders")],
    },
    Fault {
        name: "retries that their number ends",
        from: "MaximumRetryAttempts: -1\n",
        to: "MaximumRetryAttempts: 10000\n",
        checkov: &[("CKV2_MILLSTREAM_3", "StreamFunctionOrders")],
    },
    Fault {
        name: "an unencrypted queue",
        from: "      SqsManagedSseEnabled: true\n\n  StreamLogs:",
        to: "\n  StreamLogs:",
        checkov: &[("CKV2_MILLSTREAM_2", "StreamFailures")],
    },
    Fault {
        name: "an unencrypted topic",
        from: "      KmsMasterKeyId: alias/aws/sns\n",
        to: "",
        checkov: &[("CKV_AWS_26", "CompanyChanged")],
    },
    Fault {
        name: "a role that writes anything",
        from: "Resource: !GetAtt AccountingOrders.Arn",
        to: "Resource: \"*\"",
        checkov: &[("CKV_AWS_111", "StreamRole")],
    },
    Fault {
        name: "a table without a way back",
        from: "      PointInTimeRecoverySpecification: {PointInTimeRecoveryEnabled: true}\n      SSESpecification: {SSEEnabled: true}\n\n  Values:",
        to: "      SSESpecification: {SSEEnabled: true}\n\n  Values:",
        checkov: &[("CKV_AWS_28", "Ledger")],
    },
];

/// The template with the last of some text replaced.
fn planted(from: &str, to: &str) -> String {
    let template = text(TEMPLATE);
    let place = template.rfind(from).unwrap_or_else(|| panic!("{TEMPLATE} has no {from}"));
    format!("{}{to}{}", &template[..place], &template[place + from.len()..])
}

#[test]
fn checkov_names_each_planted_fault() {
    let (sources, results) = (folder(), folder());
    let mut expected = Vec::new();
    for Fault { name, from, to, checkov } in FAULTS {
        let (source, result) =
            (sources.path().join("template.yaml"), format!("{}.json", name.replace(' ', "-")));
        write(&source, &planted(from, to));
        let verdict = translate(&source, &results.path().join(&result));
        assert!(verdict.is_content, "{name}: {}", verdict.complained);
        let found = checkov.iter().map(|(check, resource)| ((*check).to_owned(), (*resource).to_owned()));
        expected.extend(found.map(|finding| (result.clone(), finding)));
    }
    let mut failed = checkov(results.path()).failed;
    failed.sort();
    expected.sort();
    assert_eq!(failed, expected);
}

#[test]
fn a_planted_wildcard_is_named() {
    for (from, to, statement) in [
        ("Action: sns:Publish", "Action: sns:*", "StreamRole/Topics"),
        ("Action: [dynamodb:UpdateItem, dynamodb:DescribeTable]", "Action: \"*\"", "QueueRole/Copies"),
        ("Resource: !GetAtt StreamFailures.Arn", "Resource: \"*\"", "StreamRole/Failures"),
        (
            "Principal: {Service: sns.amazonaws.com}",
            "Principal: \"*\"",
            "CompanyEventsPolicy/EventsOfTheTopic",
        ),
    ] {
        let folder = folder();
        let (source, result) = (folder.path().join("template.yaml"), folder.path().join("template.json"));
        write(&source, &planted(from, to));
        let verdict = translate(&source, &result);
        assert!(verdict.is_content, "{}", verdict.complained);
        let translated = fs::read_to_string(result).expect("the result was written");
        let translated: Value = serde_json::from_str(&translated).expect("JSON");
        assert_eq!(wildcards(&translated), [statement]);
    }
}

#[test]
fn what_cloudformation_does_not_know_is_named() {
    let folder = folder();
    let (source, result) = (folder.path().join("template.yaml"), folder.path().join("template.json"));
    write(&source, &planted("VisibilityTimeout: 360", "VisibilityTimout: 360"));
    assert!(translate(&source, &result).is_content, "the translator knows nothing of queues");
    let found = cfn_lint(&[&result]);
    assert!(found.contains("E3002") && found.contains("VisibilityTimout"), "{found}");
    // cfn-lint alone lets a broken SAM template pass: what it is made of is translated first.
    write(&source, &planted("            Stream: !GetAtt Orders.StreamArn\n", ""));
    let verdict = translate(&source, &result);
    assert!(!verdict.is_content && verdict.complained.contains("Stream"), "{}", verdict.complained);
}

/// What `millstream check` says of a template: how Lambda would use it, which no other program knows.
fn checked(template: &str) -> String {
    let folder = folder();
    let file = folder.path().join("template.yaml");
    write(&file, template);
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(["check", "--config", "infra/millstream.toml", "--template"]).arg(&file);
    for variable in ["STAGE", "COMPANY_CHANGED_TOPIC", "COMPANY_EVENTS_QUEUE", "MILLSTREAM_CONFIG"] {
        command.env_remove(variable);
    }
    let verdict = ask(command.current_dir(path("")));
    verdict.said + &verdict.complained
}

#[test]
fn a_mapping_that_would_miss_or_lose_changes_is_named() {
    assert!(checked(&text(TEMPLATE)).contains("template.yaml: 0 warnings"));
    for (from, to, named) in [
        ("StartingPosition: TRIM_HORIZON\n", "StartingPosition: LATEST\n", "LATEST can miss the changes"),
        (
            "            DestinationConfig: {OnFailure: {Type: SQS, Destination: !GetAtt StreamFailures.Arn}}\n",
            "",
            "DestinationConfig: has no on-failure destination",
        ),
        ("            BisectBatchOnFunctionError: true\n", "", "BisectBatchOnFunctionError: is not on"),
        ("            MaximumRecordAgeInSeconds: 79200\n", "", "MaximumRecordAgeInSeconds"),
        ("MaximumRetryAttempts: -1\n", "MaximumRetryAttempts: 10000\n", "MaximumRetryAttempts"),
        (
            "            FunctionResponseTypes: [ReportBatchItemFailures]\n            BisectBatch",
            "            BisectBatch",
            "FunctionResponseTypes: does not have ReportBatchItemFailures",
        ),
    ] {
        let told = checked(&planted(from, to));
        assert!(told.contains(named) && told.contains("[StreamFunction.Orders]"), "{named}: {told}");
    }
}

#[test]
fn the_config_that_is_deployed_has_no_warning() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(["check", "--config", "infra/millstream.toml"]).current_dir(path(""));
    command
        .env("STAGE", "dev")
        .env("COMPANY_CHANGED_TOPIC", "arn:aws:sns:eu-west-1:000000000000:dev-company-changed");
    command
        .env("COMPANY_EVENTS_QUEUE", "https://sqs.eu-west-1.amazonaws.com/000000000000/dev-company-events");
    let checked = said(&mut command);
    assert!(checked.contains("4 projections, 0 warnings"), "{checked}");
}
