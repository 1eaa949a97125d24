//! `millstream template` and `millstream check --template` at their edge: what is printed, and what is found in templates.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail their test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use millstream_test_support::tools;
use serde_json::{Value, json};
use tempfile::TempDir;

fn millstream(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(arguments).current_dir(folder).env_remove("MILLSTREAM_CONFIG").env_remove("STAGE");
    command.output().unwrap()
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a command prints is what the file says; MILLSTREAM_GOLDEN=write writes the file.
fn golden(name: &str, printed: &str) {
    let path = root().join("tests/golden").join(name);
    if std::env::var("MILLSTREAM_GOLDEN").is_ok_and(|it| it == "write") {
        fs::write(&path, printed).unwrap();
    }
    assert_eq!(printed, fs::read_to_string(&path).unwrap(), "{}", path.display());
}

#[test]
fn the_mappings_of_the_demo() {
    let (printed, told) = said(&millstream(root(), &["template", "--config", "demo/millstream.toml"]));
    assert_eq!(told, "");
    // The first line has the config's hash.
    golden("template-demo.yaml", printed.split_once('\n').unwrap().1);
}

#[test]
fn one_source_as_an_event_of_a_sam_function() {
    let arguments = ["template", "--config", "demo/millstream.toml", "--source", "orders", "--sam"];
    let (printed, _) = said(&millstream(root(), &arguments));
    for line in ["Events:", "  Orders:", "    Type: DynamoDB", "      Stream: !GetAtt OrdersTable.StreamArn"]
    {
        assert!(printed.lines().any(|it| it == line), "`{line}` is missing in\n{printed}");
    }
    assert!(!printed.contains("FunctionName") && !printed.contains("Companies"), "{printed}");
}

#[test]
fn the_same_as_json_with_what_became_of_each_projection() {
    let arguments = ["template", "--config", "demo/millstream.toml", "--json"];
    let (printed, _) = said(&millstream(root(), &arguments));
    let object: Value = serde_json::from_str(&printed).unwrap();
    let [companies, events, orders] = object["mappings"].as_array().unwrap().as_slice() else {
        panic!("three sources: {object}")
    };
    assert_eq!(companies["filter"]["patterns"], json!([]));
    assert_eq!(
        companies["filter"]["projections"][0],
        json!({ "projection": "company-changed", "needsAll": "`changed` compares two images, which no pattern can" })
    );
    assert_eq!(events["mapping"]["Type"], "AWS::Lambda::EventSourceMapping");
    let patterns = orders["filter"]["patterns"].as_array().unwrap();
    let written = orders["mapping"]["Properties"]["FilterCriteria"]["Filters"].as_array().unwrap();
    for (pattern, written) in patterns.iter().zip(written) {
        let written: Value = serde_json::from_str(written["Pattern"].as_str().unwrap()).unwrap();
        assert_eq!(*pattern, written);
    }
    assert_eq!((patterns.len(), written.len()), (3, 3));
}

#[test]
fn what_has_no_mapping_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "[source.a]\ntopic = 'arn:aws:sns:eu-west-1:000000000000:t'\n[source.b]\ntable = 'Table'\nstart = 'latest'\n\
                [projection.p]\nkind = 'replica'\nfrom = 'a'\ntable = 'Rows'\nkey = { id = '{id}' }\n";
    fs::write(folder.path().join("millstream.toml"), toml).unwrap();
    let (printed, _) = said(&millstream(folder.path(), &["template"]));
    for part in [
        "# no mapping: a topic invokes functions by itself",
        "# no filter: no projection follows it",
        "StartingPosition: LATEST",
    ] {
        assert!(printed.contains(part), "`{part}` is missing in\n{printed}");
    }
    let output = millstream(folder.path(), &["template", "--source", "c"]);
    assert_eq!((output.status.code(), said(&output).1.contains("there is no source `c`")), (Some(2), true));
}

#[test]
fn sources_whose_names_differ_in_signs_have_mappings_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let source = |name: &str, table: &str| {
        format!(
            "[source.'{name}']\ntable = '{table}'\n[projection.'of{name}']\nkind = 'emit'\nfrom = '{name}'\ntopic = 'arn:aws:sns:eu-west-1:000000000000:t'\n"
        )
    };
    let toml = ["a.b", "a-b", "AB", "..."].iter().enumerate();
    let toml: String = toml.map(|(number, name)| source(name, &format!("Table{number}"))).collect();
    fs::write(folder.path().join("millstream.toml"), toml).unwrap();
    let (printed, told) = said(&millstream(folder.path(), &["template"]));
    for name in ["AB", "ABSource2", "ABSource3", "Source1"] {
        assert!(printed.contains(&format!("  {name}Mapping:\n")), "{name} is missing in\n{printed}{told}");
    }
}

/// What the snippets of the demo go into.
const AROUND: &str = r#"AWSTemplateFormatVersion: "2010-09-09"
Resources:
  StreamFunction: &function
    Type: AWS::Lambda::Function
    Properties:
      Runtime: provided.al2023
      Handler: bootstrap
      Role: !GetAtt streamfunction.Arn
      Code: {S3Bucket: code, S3Key: bootstrap.zip}
  QueueFunction: *function
  CompaniesTable: &table
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
      StreamSpecification: {StreamViewType: NEW_AND_OLD_IMAGES}
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
  OrdersTable: *table
  CompanyEventsQueue: &queue
    Type: AWS::SQS::Queue
    Properties: {SqsManagedSseEnabled: true}
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
  StreamFailures: *queue
"#;

/// Both commands print what CloudFormation takes, says a program that no one here wrote.
#[test]
fn what_is_printed_can_be_pasted_into_a_template() {
    let indented = |text: &str, by: usize| -> String {
        text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
    };
    let (mappings, _) = said(&millstream(root(), &["template", "--config", "demo/millstream.toml"]));
    let (_, mappings) = mappings.split_once("Resources:\n").unwrap();
    let mut template = format!("{AROUND}{mappings}");
    for role in ["stream-function", "queue-function", "poller", "operator"] {
        let arguments = ["policy", "--config", "demo/millstream.toml", "--cloudformation", "--role", role];
        let (policy, _) = said(&millstream(root(), &arguments));
        let name = role.replace('-', "");
        template.push_str(&format!(
            "  {name}:\n    Type: AWS::IAM::Role\n    Properties:\n      AssumeRolePolicyDocument:\n        \
             Version: \"2012-10-17\"\n        Statement: [{{Effect: Allow, Principal: {{Service: lambda.amazonaws.com}}, \
             Action: \"sts:AssumeRole\"}}]\n      Policies:\n        - PolicyName: millstream\n          PolicyDocument:\n"
        ));
        template.push_str(&indented(&policy, 12));
    }
    let folder = tempfile::tempdir().unwrap();
    let judged = |template: &str| {
        let path = folder.path().join("template.yaml");
        fs::write(&path, template).unwrap();
        let mut lint = Command::new(tools::sam().join("cfn-lint"));
        let output = lint
            .args(["--format", "parseable", "--regions", "eu-west-1", "--ignore-checks", "W1101", "--"])
            .arg(&path)
            .output();
        let (printed, told) = said(&output.unwrap());
        printed + &told
    };
    assert_eq!(judged(&template), "", "{template}");
    // It does look at these things.
    for (from, to) in
        [("MaximumRetryAttempts: -1", "MaximumRetryAttempts: -2"), ("dynamodb:GetItem", "dynamodb:GetItems")]
    {
        assert_ne!(judged(&template.replace(from, to)), "", "{to}");
    }
}

/// A config with something of everything that a template is compared with.
const CONFIG: &str = r#"
[source.orders]
table = "${STAGE}-Orders"
[source.mail]
queue = "${MAIL_QUEUE}"
[state]
prefix = "${STAGE}-ms-"
[projection.open]
kind = "replica"
from = "orders"
where = "new.status == 'OPEN'"
table = "${STAGE}-Open"
key = { orderId = "{orderId}" }
set = { status = "{status}" }
tombstones = "inline"
[projection.totals]
kind = "aggregate"
from = "orders"
where = "new.status == 'OPEN'"
table = "${STAGE}-Totals"
group = { customer = "{customer}", day = "{day}" }
count = "orders"
[projection.names]
kind = "copy"
from = "mail"
table = "${STAGE}-Names"
match = { index = "by-customer", key = { customer = "{customer}" } }
set = { name = "{name}" }
"#;

/// A template that deploys it, with nothing to be found in.
const TEMPLATE: &str = r#"Transform: AWS::Serverless-2016-10-31
Parameters:
  Stage: {Type: String, Default: dev}
Globals:
  Function:
    Timeout: 60
    Environment: {Variables: {STAGE: !Ref Stage, MAIL_QUEUE: !Ref Mail}}
Resources:
  Orders:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: !Sub ${Stage}-Orders
      KeySchema: [{AttributeName: orderId, KeyType: HASH}]
      StreamSpecification: {StreamViewType: NEW_AND_OLD_IMAGES}
  Open:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: !Join ["-", [!Ref Stage, Open]]
      KeySchema: [{AttributeName: orderId, KeyType: HASH}]
      TimeToLiveSpecification: {AttributeName: "ms:expires", Enabled: true}
  Totals:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: !Sub "${Stage}-Totals"
      KeySchema: [{AttributeName: customer, KeyType: HASH}, {AttributeName: day, KeyType: RANGE}]
  Names:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: {"Fn::Sub": "${Stage}-Names"}
      KeySchema: [{AttributeName: id, KeyType: HASH}]
      GlobalSecondaryIndexes:
        - IndexName: by-customer
          KeySchema: [{AttributeName: customer, KeyType: HASH}]
  Ledger:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: !Sub ${Stage}-ms-ledger
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
      TimeToLiveSpecification: {AttributeName: expires, Enabled: true}
  Letters:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: !Sub ${Stage}-ms-letters
      AttributeDefinitions:
        - {AttributeName: id, AttributeType: S}
        - {AttributeName: part, AttributeType: N}
        - {AttributeName: firstAt, AttributeType: N}
      KeySchema: [{AttributeName: id, KeyType: HASH}, {AttributeName: part, KeyType: RANGE}]
      GlobalSecondaryIndexes:
        - IndexName: by-projection
          KeySchema: [{AttributeName: projection, KeyType: HASH}, {AttributeName: firstAt, KeyType: RANGE}]
        - IndexName: by-key
          KeySchema: [{AttributeName: digest, KeyType: HASH}, {AttributeName: version, KeyType: RANGE}]
        - IndexName: by-state
          KeySchema: [{AttributeName: state, KeyType: HASH}, {AttributeName: firstAt, KeyType: RANGE}]
      TimeToLiveSpecification: {AttributeName: expires, Enabled: true}
  Failures:
    Type: AWS::SQS::Queue
    Properties: {QueueName: !Sub "${Stage}-failures"}
  Mail:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: !Sub ${Stage}-mail
      VisibilityTimeout: 360
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Failures.Arn, maxReceiveCount: 100}
  Changes: {Type: AWS::SNS::Topic}
  Told:
    Type: AWS::SNS::Subscription
    Properties:
      TopicArn: !Ref Changes
      Protocol: sqs
      Endpoint: !GetAtt Mail.Arn
  MayTell:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref Mail]
      PolicyDocument:
        Statement:
          Effect: Allow
          Principal: {Service: sns.amazonaws.com}
          Action: sqs:SendMessage
          Resource: "*"
          Condition: {ArnEquals: {"aws:SourceArn": !Ref Changes}}
  StreamFunction:
    Type: AWS::Serverless::Function
    Properties:
      Role: !GetAtt StreamRole.Arn
  OrdersMapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      FunctionName: !Ref StreamFunction
      EventSourceArn: !GetAtt Orders.StreamArn
      StartingPosition: TRIM_HORIZON
      FunctionResponseTypes: [ReportBatchItemFailures]
      BisectBatchOnFunctionError: true
      MaximumRetryAttempts: -1
      MaximumRecordAgeInSeconds: 79200
      DestinationConfig: {OnFailure: {Destination: !GetAtt Failures.Arn}}
      FilterCriteria:
        Filters:
          - Pattern: '{"eventName":[{"anything-but":["INSERT","MODIFY","REMOVE"]},{"exists":false}]}'
          - Pattern: '{"eventName":[{"anything-but":["REMOVE"]}],"dynamodb":{"NewImage":{"status":{"S":["OPEN",{"exists":false}]}}}}'
          - Pattern: '{"eventName":[{"anything-but":["INSERT"]}],"dynamodb":{"OldImage":{"status":{"S":["OPEN",{"exists":false}]}}}}'
  StreamRole:
    Type: AWS::IAM::Role
    Properties:
      Policies:
        - PolicyName: p
          PolicyDocument:
            Statement:
              - Effect: Allow
                Action: [dynamodb:DescribeStream, dynamodb:GetRecords, dynamodb:GetShardIterator, dynamodb:ListStreams]
                Resource: !Sub ${Orders.Arn}/stream/*
              - Effect: Allow
                Action: [dynamodb:PutItem, dynamodb:DescribeTable]
                Resource: !GetAtt Open.Arn
              - Effect: Allow
                Action: [dynamodb:UpdateItem, dynamodb:DescribeTable]
                Resource: !GetAtt Totals.Arn
              - Effect: Allow
                Action: [dynamodb:GetItem, dynamodb:UpdateItem]
                Resource: !GetAtt Ledger.Arn
              - Effect: Allow
                Action: [dynamodb:GetItem, dynamodb:PutItem, dynamodb:UpdateItem]
                Resource: !GetAtt Letters.Arn
              - Effect: Allow
                Action: sqs:SendMessage
                Resource: !GetAtt Failures.Arn
              - Effect: Allow
                Action: [logs:PutLogEvents, "xray:*"]
                Resource: "*"
  QueueFunction:
    Type: AWS::Serverless::Function
    Properties:
      Policies: [AWSLambdaBasicExecutionRole]
      Events:
        Mail:
          Type: SQS
          Properties:
            Queue: !GetAtt Mail.Arn
            FunctionResponseTypes: [ReportBatchItemFailures]
"#;

/// A folder with a config and a template.
fn deployed(config: &str, template: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("m.toml"), config).unwrap();
    fs::write(folder.path().join("t.yaml"), template).unwrap();
    folder
}

/// What is found, as the command prints it.
fn findings(config: &str, template: &str, more: &[&str]) -> Vec<String> {
    let folder = deployed(config, template);
    let arguments = [&["check", "--config", "m.toml", "--template", "t.yaml"], more].concat();
    let output = millstream(folder.path(), &arguments);
    let (printed, told) = said(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let found = printed.lines().filter_map(|line| line.strip_prefix("warning: t.yaml:"));
    let found: Vec<String> = found.map(str::to_owned).collect();
    let count = format!("t.yaml: {} warning{}", found.len(), if found.len() == 1 { "" } else { "s" });
    assert!(printed.lines().any(|line| line == count), "`{count}` is missing in\n{printed}");
    found
}

/// The line of a template that has this in it, from 1.
fn line_of(template: &str, part: &str) -> usize {
    template.lines().position(|line| line.contains(part)).unwrap_or_else(|| panic!("{part} is missing")) + 1
}

#[test]
fn a_template_without_a_fault_has_no_warnings() {
    assert_eq!(findings(CONFIG, TEMPLATE, &[]), [""; 0]);
    assert_eq!(findings(CONFIG, TEMPLATE, &["--parameter", "Stage=prod"]), [""; 0]);
}

/// What a template leaves to a deployment is no fault of it.
#[test]
fn what_only_a_deployment_knows_is_no_fault() {
    let choices =
        TEMPLATE.replace("Resources:\n", "Conditions: {Open: !Equals [!ImportValue x, y]}\nResources:\n");
    let mut choices = choices;
    for (from, to) in [
        (
            "DestinationConfig: {OnFailure: {Destination: !GetAtt Failures.Arn}}",
            "DestinationConfig: !If [Open, {OnFailure: {Destination: !GetAtt Failures.Arn}}, !Ref AWS::NoValue]",
        ),
        ("BisectBatchOnFunctionError: true", "BisectBatchOnFunctionError: {\"Fn::If\": [Open, true, false]}"),
        (
            "      FunctionResponseTypes: [ReportBatchItemFailures]\n      Bisect",
            "      FunctionResponseTypes: !If [Open, [ReportBatchItemFailures], !Ref AWS::NoValue]\n      Bisect",
        ),
    ] {
        assert_eq!(choices.matches(from).count(), 1, "`{from}` has to be one place");
        choices = choices.replace(from, to);
    }
    assert_eq!(findings(CONFIG, &choices, &[]), [""; 0]);
    // Where a parameter decides, it does.
    let decided = choices.replace("!ImportValue x, y", "!Ref Stage, prod");
    assert_eq!(findings(CONFIG, &decided, &["--parameter", "Stage=prod"]), [""; 0]);
    let told = findings(CONFIG, &decided, &[]);
    for missing in [
        "FunctionResponseTypes: does not have",
        "BisectBatchOnFunctionError: is not on",
        "DestinationConfig: has no",
    ] {
        assert!(told.iter().any(|it| it.contains(missing)), "`{missing}` is missing in {told:#?}");
    }
}

/// A mapping can invoke a function by an alias, or one of another stack.
#[test]
fn what_a_mapping_invokes() {
    let live = "  Live:\n    Type: AWS::Lambda::Alias\n    Properties: {Name: live, FunctionName: !Ref StreamFunction}\n  OrdersMapping:\n";
    let by_alias = TEMPLATE.replace("  OrdersMapping:\n", live);
    let by_alias = by_alias
        .replace("FunctionName: !Ref StreamFunction\n      Event", "FunctionName: !Ref Live\n      Event");
    let published = "      AutoPublishAlias: live\n      Role: !GetAtt StreamRole.Arn\n";
    let by_sam = TEMPLATE.replace("      Role: !GetAtt StreamRole.Arn\n", published);
    let by_sam =
        by_sam.replace("FunctionName: !Ref StreamFunction", "FunctionName: !Ref StreamFunctionAliaslive");
    let elsewhere =
        TEMPLATE.replace("FunctionName: !Ref StreamFunction", "FunctionName: !ImportValue function");
    for (template, is_known) in [(by_alias, true), (by_sam, true), (elsewhere, false)] {
        assert_ne!(template, TEMPLATE);
        assert_eq!(findings(CONFIG, &template, &[]), [""; 0], "{template}");
        let more = template.replace("  Action: sqs:SendMessage", "  Action: sqs:*");
        let told = findings(CONFIG, &more, &[]);
        assert_eq!(told.iter().any(|it| it.contains("grants sqs:*")), is_known, "{told:#?}");
    }
}

#[test]
fn what_a_loop_makes_is_said_not_to_be_read() {
    let looped = "Resources:\n  Fn::ForEach::Tables:\n    - Name\n    - [A, B]\n    - ${Name}: {Type: AWS::DynamoDB::Table}\n";
    let template = TEMPLATE.replace("Resources:\n", looped);
    let told = findings(CONFIG, &template, &[]);
    let expected = format!("{}: [Fn::ForEach::Tables] makes resources", line_of(&template, "Fn::ForEach"));
    assert!(told.len() == 1 && told[0].starts_with(&expected), "{told:#?}");
}

#[test]
fn a_variable_that_a_deployment_tells_is_asked_for() {
    let template = "Parameters: {Stage: {Type: String}}\nGlobals: {Function: {Environment: {Variables: {MAIL_QUEUE: !ImportValue q, STAGE: !Ref Stage}}}}\nResources: {F: {Type: AWS::Serverless::Function}}\n";
    let folder = deployed(CONFIG, template);
    let arguments = ["check", "--config", "m.toml", "--template", "t.yaml"];
    let output = millstream(folder.path(), &arguments);
    let (printed, told) = said(&output);
    assert_eq!((output.status.code(), printed.as_str()), (Some(2), ""), "{told}");
    assert!(told.contains("note: t.yaml gives its functions `MAIL_QUEUE`, `STAGE`, and"), "{told}");
    let output = millstream(folder.path(), &[&arguments[..], &["--parameter", "Stage=prod"]].concat());
    assert!(said(&output).1.contains("note: t.yaml gives its functions `MAIL_QUEUE`, and"), "{output:?}");
}

/// Rights can stand in the role, or in policies that say whose they are.
#[test]
fn policies_that_are_resources_are_read() {
    let (start, rest) = TEMPLATE.split_once("      Policies:\n        - PolicyName: p\n").unwrap();
    let (document, end) = rest.split_once("  QueueFunction:\n").unwrap();
    let document: String = document.lines().map(|line| format!("{}\n", &line[4..])).collect();
    for (kind, roles) in [
        ("AWS::IAM::Policy", "Roles: [!Ref StreamRole]"),
        ("AWS::IAM::ManagedPolicy", "Roles: [stream-role]"),
        ("AWS::IAM::RolePolicy", "RoleName: !Ref StreamRole"),
    ] {
        let policy = format!("  Rights:\n    Type: {kind}\n    Properties:\n      {roles}\n{document}");
        let template = format!("{start}      RoleName: stream-role\n{policy}  QueueFunction:\n{end}");
        assert_eq!(findings(CONFIG, &template, &[]), [""; 0], "{kind}");
        let others = template
            .replace(roles, &roles.replace("!Ref StreamRole", "another").replace("stream-role", "another"));
        let told = findings(CONFIG, &others, &[]);
        assert!(told.iter().any(|it| it.contains("[StreamRole] Policies: lacks")), "{kind}: {told:#?}");
    }
}

/// What is planted: what is replaced, and by what; and what is then found, at the line of some text.
struct Planted {
    from: &'static str,
    to: &'static str,
    at: &'static str,
    found: &'static str,
    /// How many other things follow from it.
    others: usize,
}

const PLANTED: &[Planted] = &[
    Planted {
        from: "      FunctionResponseTypes: [ReportBatchItemFailures]\n      Bisect",
        to: "      Bisect",
        at: "OrdersMapping:",
        found: "[OrdersMapping] FunctionResponseTypes: does not have ReportBatchItemFailures",
        others: 0,
    },
    Planted {
        from: "            FunctionResponseTypes: [ReportBatchItemFailures]\n",
        to: "            FunctionResponseTypes: []\n",
        at: "            FunctionResponseTypes",
        found: "[QueueFunction.Mail] FunctionResponseTypes: does not have ReportBatchItemFailures",
        others: 0,
    },
    Planted {
        from: "BisectBatchOnFunctionError: true",
        to: "BisectBatchOnFunctionError: false",
        at: "BisectBatchOnFunctionError",
        found: "[OrdersMapping] BisectBatchOnFunctionError: is not on",
        others: 0,
    },
    Planted {
        from: "TRIM_HORIZON",
        to: "LATEST",
        at: "StartingPosition",
        found: "[OrdersMapping] StartingPosition: LATEST can miss",
        others: 0,
    },
    Planted {
        from: "      DestinationConfig: {OnFailure: {Destination: !GetAtt Failures.Arn}}\n",
        to: "",
        at: "OrdersMapping:",
        found: "[OrdersMapping] DestinationConfig: has no on-failure destination",
        // So nobody has to send there, either.
        others: 1,
    },
    Planted {
        from: "\"OldImage\":{\"status\":{\"S\":[\"OPEN\",{\"exists\":false}]}}",
        to: "\"OldImage\":{\"status\":{\"S\":[\"OPEN\"]}}",
        at: "FilterCriteria",
        found: "[OrdersMapping] FilterCriteria: is not the filter of this config: it may drop a change",
        others: 0,
    },
    Planted {
        from: "    Timeout: 60\n",
        to: "",
        at: "  StreamFunction:",
        found: "[StreamFunction] Timeout: 3s leave little beside `pipeline.deadline_margin` = 2s",
        // The other function as well.
        others: 1,
    },
    Planted {
        from: "VisibilityTimeout: 360",
        to: "VisibilityTimeout: 300",
        at: "VisibilityTimeout",
        found: "[Mail] VisibilityTimeout: 300 s is less than six times the function's timeout of 60 s",
        others: 0,
    },
    Planted {
        from: "      VisibilityTimeout: 360\n",
        to: "",
        at: "  Mail:",
        found: "[Mail] VisibilityTimeout: 30 s is less than six times",
        others: 0,
    },
    Planted {
        from: "      RedrivePolicy: {deadLetterTargetArn: !GetAtt Failures.Arn, maxReceiveCount: 100}\n",
        to: "",
        at: "  Mail:",
        found: "[Mail] RedrivePolicy: there is none",
        others: 0,
    },
    Planted {
        from: "{StreamViewType: NEW_AND_OLD_IMAGES}",
        to: "{StreamViewType: NEW_IMAGE}",
        at: "StreamSpecification",
        found: "[Orders] StreamSpecification: NEW_IMAGE carries no old image, and source `orders` reads NEW_AND_OLD_IMAGES",
        others: 0,
    },
    Planted {
        from: "      StreamSpecification: {StreamViewType: NEW_AND_OLD_IMAGES}\n",
        to: "",
        at: "  Orders:",
        found: "[Orders] StreamSpecification: there is none, and source `orders` reads the table's stream",
        others: 0,
    },
    Planted {
        from: "TableName: !Sub \"${Stage}-Totals\"",
        to: "TableName: Totals",
        at: "Transform",
        found: "[projection.totals] the template has no table `dev-Totals`; add it",
        // And the role's rights are on another table.
        others: 2,
    },
    Planted {
        from: "      TableName: !Sub ${Stage}-ms-ledger\n",
        to: "",
        at: "Transform",
        found: "[the ledger] the template has no table `dev-ms-ledger`, unless it is `Ledger`, whose name it does not tell",
        others: 0,
    },
    Planted {
        from: "{AttributeName: day, KeyType: RANGE}",
        to: "{AttributeName: month, KeyType: RANGE}",
        at: "AttributeName: month",
        found: "[Totals] KeySchema: is `customer`, `month`, and projection `totals` writes rows by `customer`, `day`",
        others: 0,
    },
    Planted {
        from: "IndexName: by-customer",
        to: "IndexName: by-name",
        at: "      GlobalSecondaryIndexes",
        found: "[Names] GlobalSecondaryIndexes: there is no index `by-customer`, by which projection `names` finds rows",
        others: 0,
    },
    Planted {
        from: "KeySchema: [{AttributeName: customer, KeyType: HASH}]",
        to: "KeySchema: [{AttributeName: name, KeyType: HASH}]",
        at: "IndexName: by-customer",
        found: "[Names] KeySchema: index `by-customer` is keyed by `name`, and projection `names` asks it by `customer`",
        others: 0,
    },
    Planted {
        from: "AttributeName: \"ms:expires\"",
        to: "AttributeName: expires",
        at: "      TimeToLiveSpecification",
        found: "[Open] TimeToLiveSpecification: is not on `ms:expires`: inline tombstones of projection `open` would stay for ever",
        others: 0,
    },
    Planted {
        from: "{AttributeName: part, AttributeType: N}",
        to: "{AttributeName: part, AttributeType: S}",
        at: "      AttributeDefinitions:\n",
        found: "[Letters] AttributeDefinitions: `part` is S, and has to be N",
        others: 0,
    },
    Planted {
        from: "IndexName: by-state",
        to: "IndexName: by-status",
        at: "      GlobalSecondaryIndexes:\n        - IndexName: by-projection",
        found: "[Letters] GlobalSecondaryIndexes: there is no index `by-state` on `state`, `firstAt`",
        others: 0,
    },
    Planted {
        from: "[{AttributeName: id, KeyType: HASH}, {AttributeName: part, KeyType: RANGE}]",
        to: "[{AttributeName: id, KeyType: HASH}]",
        at: "      KeySchema: [{AttributeName: id, KeyType: HASH}]\n      GlobalSecondaryIndexes:\n        - IndexName: by-projection",
        found: "[Letters] KeySchema: is `id`, and this table of Millstream's own (the letters) has `id`, `part`",
        others: 0,
    },
    Planted {
        from: "Action: [dynamodb:GetItem, dynamodb:UpdateItem]",
        to: "Action: [dynamodb:GetItem]",
        at: "  StreamRole:",
        found: "[StreamRole] Policies: lacks dynamodb:UpdateItem on dynamodb:table/dev-ms-ledger; use what `millstream policy` prints",
        others: 0,
    },
    Planted {
        from: "Action: [dynamodb:GetItem, dynamodb:UpdateItem]",
        to: "Action: [dynamodb:GetItem, dynamodb:UpdateItem, dynamodb:Scan]",
        at: "Effect: Allow\n                Action: [dynamodb:GetItem, dynamodb:UpdateItem, dynamodb:Scan]",
        found: "[StreamRole] Policies: grants dynamodb:Scan on dynamodb:table/dev-ms-ledger, which nothing of this config needs",
        others: 0,
    },
    Planted {
        from: "Action: sqs:SendMessage\n                Res",
        to: "Action: sqs:*\n                Res",
        at: "Effect: Allow\n                Action: sqs:*",
        found: "[StreamRole] Policies: grants sqs:* on sqs:dev-failures, which nothing of this config needs",
        others: 0,
    },
];

#[test]
fn each_planted_fault_is_found_alone_at_its_line() {
    PLANTED.iter().for_each(check);
}

#[track_caller]
fn check(Planted { from, to, at, found, others }: &Planted) {
    assert_eq!(TEMPLATE.matches(from).count(), 1, "`{from}` has to be one place");
    let template = TEMPLATE.replace(from, to);
    let place = template.find(at).unwrap_or_else(|| panic!("`{at}` is missing"));
    let line = template[..place].matches('\n').count() + 1;
    let told = findings(CONFIG, &template, &[]);
    let expected = format!("{line}: {found}");
    assert!(told.iter().any(|it| it.starts_with(&expected)), "`{expected}` is missing for `{to}`: {told:#?}");
    let besides: Vec<&String> = told.iter().filter(|it| !it.starts_with(&expected)).collect();
    assert_eq!(besides.len(), *others, "`{from}`: {told:#?}");
}

/// A fault that is found alone, and no fault where only a deployment knows the value.
#[track_caller]
fn check_value(from: &'static str, to: &'static str, at: &'static str, found: &'static str, value: &str) {
    check(&Planted { from, to, at, found, others: 0 });
    for unknown in ["!ImportValue x", "!If [Open, A, !ImportValue x]"] {
        let unknown = to.replace(value, &unknown.replace('A', value));
        let template = TEMPLATE.replace(from, &unknown);
        let template =
            template.replace("Resources:\n", "Conditions: {Open: !Equals [!ImportValue x, y]}\nResources:\n");
        assert_ne!(*to, *unknown, "`{value}` is missing in `{to}`");
        assert_eq!(findings(CONFIG, &template, &[]), [""; 0], "{unknown}");
    }
}

const ATTEMPTS: &str = "MaximumRetryAttempts: -1";
const AGE: &str = "      MaximumRecordAgeInSeconds: 79200\n";
const EVENT: &str = "            FunctionResponseTypes: [ReportBatchItemFailures]\n";
const MAIL: &str = "      QueueName: !Sub ${Stage}-mail\n";

#[test]
fn attempts_that_are_counted() {
    for (to, value) in [("MaximumRetryAttempts: 10000", "10000"), ("MaximumRetryAttempts: 0", "0")] {
        let found = "[OrdersMapping] MaximumRetryAttempts: ";
        check_value(ATTEMPTS, to, "MaximumRetryAttempts", found, value);
    }
    let told = findings(CONFIG, &TEMPLATE.replace(ATTEMPTS, "MaximumRetryAttempts: 3"), &[]);
    let expected = "3 attempts can be over within seconds or minutes";
    assert!(told[0].contains(expected) && told[0].contains("set MaximumRetryAttempts: -1"), "{told:?}");
    // Without end is what Lambda does that is told nothing.
    let none = TEMPLATE.replace("      MaximumRetryAttempts: -1\n", "");
    assert_eq!(findings(CONFIG, &none, &[]), [""; 0]);
}

#[test]
fn a_record_that_never_is_too_old() {
    let found = "[OrdersMapping] MaximumRecordAgeInSeconds: is without end: a record that fails blocks its shard until the stream \
                 forgets it, after 24 h, and nobody is told; set MaximumRecordAgeInSeconds: 79200";
    let to = "      MaximumRecordAgeInSeconds: -1\n";
    check_value(AGE, to, "MaximumRecordAgeInSeconds", found, "-1");
    check(&Planted { from: AGE, to: "", at: "OrdersMapping:", found, others: 0 });
}

#[test]
fn a_record_that_is_too_old_when_the_stream_has_forgotten_it() {
    let found =
        "[OrdersMapping] MaximumRecordAgeInSeconds: gives up after 1d, and the stream forgets after 24 h";
    let to = "      MaximumRecordAgeInSeconds: 86400\n";
    check_value(AGE, to, "MaximumRecordAgeInSeconds", found, "86400");
}

#[test]
fn a_window_that_hands_on_a_state() {
    let to = "MaximumRetryAttempts: -1\n      TumblingWindowInSeconds: 60";
    let found = "[OrdersMapping] TumblingWindowInSeconds: makes Lambda hand a state from batch to batch";
    check_value(ATTEMPTS, to, "TumblingWindowInSeconds", found, "60");
    let none = TEMPLATE.replace(ATTEMPTS, &to.replace("60", "0"));
    assert_eq!(findings(CONFIG, &none, &[]), [""; 0]);
}

#[test]
fn a_mapping_that_is_off() {
    let to = "MaximumRetryAttempts: -1\n      Enabled: false";
    check_value(
        ATTEMPTS,
        to,
        "      Enabled: false",
        "[OrdersMapping] Enabled: is false: nothing is read",
        "false",
    );
    let to = "            FunctionResponseTypes: [ReportBatchItemFailures]\n            Enabled: false\n";
    check_value(EVENT, to, "Enabled: false", "[QueueFunction.Mail] Enabled: is false", "false");
}

#[test]
fn a_filter_of_a_queue() {
    let to = "            FunctionResponseTypes: [ReportBatchItemFailures]\n            FilterCriteria: {Filters: [{Pattern: '{\"body\":{\"a\":[\"b\"]}}'}]}\n";
    let found = "[QueueFunction.Mail] FilterCriteria: drops messages: Lambda deletes those from the queue";
    check_value(
        EVENT,
        to,
        "FilterCriteria: {",
        found,
        "{Filters: [{Pattern: '{\"body\":{\"a\":[\"b\"]}}'}]}",
    );
}

#[test]
fn a_concurrency_that_lambda_does_not_take() {
    let to = "            FunctionResponseTypes: [ReportBatchItemFailures]\n            ScalingConfig: {MaximumConcurrency: 1}\n";
    let found =
        "[QueueFunction.Mail] ScalingConfig: MaximumConcurrency is 1, and Lambda takes no less than 2";
    check_value(EVENT, to, "ScalingConfig", found, "1");
}

#[test]
fn a_queue_that_moves_messages_away_too_soon() {
    let found = "[Mail] RedrivePolicy: maxReceiveCount is 3: every attempt counts";
    check_value("maxReceiveCount: 100", "maxReceiveCount: 3", "RedrivePolicy", found, "3");
}

#[test]
fn a_subscription_that_drops_messages() {
    let from = "      Protocol: sqs\n";
    let to = "      Protocol: sqs\n      FilterPolicy: {kind: [a]}\n";
    check_value(from, to, "FilterPolicy", "[Told] FilterPolicy: drops messages before", "{kind: [a]}");
    // Of another queue it is no matter of ours.
    let other =
        TEMPLATE.replace(from, to).replace("Endpoint: !GetAtt Mail.Arn", "Endpoint: !GetAtt Failures.Arn");
    assert_eq!(findings(CONFIG, &other, &[]), [""; 0]);
}

#[test]
fn a_key_that_keeps_a_topic_out() {
    let to = "      QueueName: !Sub ${Stage}-mail\n      KmsMasterKeyId: alias/aws/sqs\n";
    let found = "[Mail] KmsMasterKeyId: alias/aws/sqs is a key that SNS cannot use";
    check_value(MAIL, to, "KmsMasterKeyId", found, "alias/aws/sqs");
    // A topic can name its subscriptions itself.
    let (start, rest) = TEMPLATE.split_once("  Changes: {Type").unwrap();
    let (_, end) = rest.split_once("  MayTell:\n").unwrap();
    let topic = "  Changes:\n    Type: AWS::SNS::Topic\n    Properties: {Subscription: [{Protocol: sqs, Endpoint: !GetAtt Mail.Arn}]}\n";
    let template = format!("{start}{topic}  MayTell:\n{end}");
    assert_eq!(findings(CONFIG, &template, &[]), [""; 0]);
    assert_eq!(findings(CONFIG, &template.replace(MAIL, to), &[]).len(), 1);
    // Without a topic it is a key like any other.
    let alone = template
        .replace(MAIL, to)
        .replace("Protocol: sqs, Endpoint: !GetAtt Mail.Arn", "Protocol: email, Endpoint: a@b.c");
    assert_eq!(findings(CONFIG, &alone, &[]), [""; 0]);
}

#[test]
fn a_policy_that_lets_another_topic_send() {
    let from = "{\"aws:SourceArn\": !Ref Changes}";
    let to = "{\"aws:SourceArn\": \"arn:aws:sns:us-east-1:123456789012:other\"}";
    let found = "[MayTell] PolicyDocument: does not let `Changes` send to `Mail`";
    check_value(from, to, "  MayTell:", found, "\"arn:aws:sns:us-east-1:123456789012:other\"");
    for to in ["{\"aws:SourceArn\": \"arn:aws:sns:*:*:*\"}", "{\"aws:SourceAccount\": \"123456789012\"}"] {
        assert_eq!(findings(CONFIG, &TEMPLATE.replace(from, to), &[]), [""; 0], "{to}");
    }
}

/// The template without the mapping of the table.
fn without_the_table() -> String {
    let (start, rest) = TEMPLATE.split_once("  OrdersMapping:\n").unwrap();
    let (_, end) = rest.split_once("  StreamRole:\n").unwrap();
    format!("{start}  StreamRole:\n{end}")
}

const UNREAD: &str = "1: [source.orders] no mapping reads table `dev-Orders`: its changes reach no function";

#[test]
fn a_table_that_no_mapping_reads() {
    let template = without_the_table();
    let told = findings(CONFIG, &template, &[]);
    assert!(told.iter().any(|it| it.starts_with(UNREAD)), "{told:#?}");
    // Nor any other source.
    let (start, _) = template.split_once("      Events:\n        Mail:").unwrap();
    let told = findings(CONFIG, start, &[]);
    assert!(told.iter().any(|it| it.starts_with(UNREAD)), "{told:#?}");
    assert!(told.iter().any(|it| it.contains("[source.mail] no mapping reads queue")), "{told:#?}");
}

#[test]
fn a_queue_that_no_mapping_reads() {
    let (template, _) = TEMPLATE.split_once("      Events:\n        Mail:").unwrap();
    let told = findings(CONFIG, template, &[]);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].starts_with("1: [source.mail] no mapping reads queue `https://"), "{told:#?}");
}

/// The role may read it, and that is right: it is the mapping that is missing.
#[test]
fn the_rights_of_a_source_that_no_mapping_reads_are_not_too_much() {
    let config = format!(
        "{CONFIG}[source.more]\ntable = \"${{STAGE}}-More\"\n[projection.more]\nkind = \"replica\"\nfrom = \"more\"\n\
         table = \"${{STAGE}}-Open\"\nkey = {{ orderId = \"{{orderId}}\" }}\nset = {{ more = \"{{more}}\" }}\ntombstones = \"inline\"\n"
    );
    let right = "Resource: !Sub ${Orders.Arn}/stream/*";
    let template = TEMPLATE
        .replace(right, "Resource: [!Sub \"${Orders.Arn}/stream/*\", !Sub \"arn:aws:dynamodb:us-east-1:1:table/${Stage}-More/stream/*\"]");
    let told = findings(&config, &template, &[]);
    assert!(
        told.iter().any(|it| it.starts_with("1: [source.more] no mapping reads table `dev-More`")),
        "{told:#?}"
    );
    assert!(!told.iter().any(|it| it.contains("grants ")), "{told:#?}");
}

/// A mapping may be where nobody looks, or a poller reads.
#[test]
fn what_may_be_read_elsewhere_is_not_said_to_be_unread() {
    let import =
        TEMPLATE.replace("EventSourceArn: !GetAtt Orders.StreamArn", "EventSourceArn: !ImportValue stream");
    let nested = "Resources:\n  Nested: {Type: AWS::CloudFormation::Stack}\n";
    let nested = TEMPLATE
        .replace("Resources:\n", nested)
        .replace("EventSourceArn: !GetAtt Orders.StreamArn", "EventSourceArn: !GetAtt Nested.Outputs.Stream");
    let looped = "Resources:\n  Fn::ForEach::Mappings:\n    - Name\n    - [A]\n    - ${Name}: {Type: AWS::Lambda::EventSourceMapping}\n";
    let looped = without_the_table().replace("Resources:\n", looped);
    let container = "Resources:\n  Task: {Type: AWS::ECS::TaskDefinition}\n";
    let (polled, _) = without_the_table()
        .split_once("      Events:\n        Mail:")
        .map(|(start, end)| (start.to_owned(), end.to_owned()))
        .unwrap();
    let polled = polled.replace("Resources:\n", container);
    for template in [import, nested, looped, polled] {
        let told = findings(CONFIG, &template, &[]);
        assert!(!told.iter().any(|it| it.contains("no mapping reads")), "{told:#?}\n{template}");
    }
}

/// Where the queue of a config is elsewhere than the stack, its template has no such resource.
#[test]
fn a_queue_of_another_place_has_its_arn() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "[source.q]\nqueue = 'https://sqs.eu-west-1.amazonaws.com/111122223333/mail'\n\
                [projection.p]\nkind = 'replica'\nfrom = 'q'\ntable = 'Rows'\nkey = { id = '{id}' }\n";
    fs::write(folder.path().join("millstream.toml"), toml).unwrap();
    let printed = |more: &[&str]| said(&millstream(folder.path(), &[&["template"], more].concat())).0;
    for own in [&[][..], &["--region", "eu-west-1", "--account", "111122223333"]] {
        assert!(printed(own).contains("EventSourceArn: !GetAtt QQueue.Arn"), "{own:?}");
    }
    for other in [["--account", "444455556666"], ["--region", "us-east-1"]] {
        let printed = printed(&other);
        for part in [
            "EventSourceArn: arn:aws:sqs:eu-west-1:111122223333:mail",
            "so the function has to be in eu-west-1",
        ] {
            assert!(printed.contains(part), "`{part}` is missing in\n{printed}");
        }
    }
    assert!(printed(&["--sam", "--account", "444455556666"]).contains("Queue: arn:aws:sqs:"));
    for slip in ["nowhere!", "eu-west", "EU-WEST-1", "eu--1", ""] {
        for command in ["template", "policy"] {
            let output = millstream(folder.path(), &[command, "--region", slip]);
            let (code, told) = (output.status.code(), said(&output).1);
            assert!(code == Some(2) && told.contains("a Region is words and a number"), "{slip}: {told}");
        }
    }
    for region in ["us-gov-west-1", "cn-north-1", "us-isob-east-1"] {
        assert_eq!(millstream(folder.path(), &["policy", "--region", region]).status.code(), Some(0));
    }
}

#[test]
fn conditions_without_an_attribute_in_common_are_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let terms: Vec<String> = (0..5).map(|n| format!("new.a{n} == 'x'")).collect();
    let toml = format!(
        "[source.o]\ntable = 'Orders'\n[projection.p]\nkind = 'replica'\nfrom = 'o'\nwhere = \"{}\"\ntable = 'Rows'\nkey = {{ id = '{{id}}' }}\n",
        terms.join(" || ")
    );
    fs::write(folder.path().join("millstream.toml"), toml).unwrap();
    let (printed, _) = said(&millstream(folder.path(), &["template"]));
    for part in
        ["# no filter: its conditions are more than 5 patterns", "name one attribute, as in new.type == 'a'"]
    {
        assert!(printed.contains(part), "`{part}` is missing in\n{printed}");
    }
    assert!(!printed.contains("FilterCriteria"), "{printed}");
}

#[test]
fn where_letters_are_in_a_queue_that_has_no_redrive_policy() {
    let config = format!(
        "{CONFIG}[letters]\nstore = {{ queue = \"https://sqs.us-east-1.amazonaws.com/123456789012/dev-mail\" }}\n"
    );
    let told = findings(&config, TEMPLATE, &[]);
    let expected =
        format!("{}: [Mail] RedrivePolicy: letters are in this queue", line_of(TEMPLATE, "RedrivePolicy"));
    assert!(told.iter().any(|it| it.starts_with(&expected)), "{told:#?}");
}

#[test]
fn a_table_that_a_poller_reads_needs_the_state_of_pollers() {
    let told = findings(CONFIG, &without_the_table(), &[]);
    assert_eq!(told.len(), 2, "{told:#?}");
    let missing = "[the state of pollers] the template has no table `dev-ms-state`";
    assert!(told.iter().any(|it| it.contains(missing)), "{told:#?}");
}

#[test]
fn json_templates_and_json_output() {
    let template = r#"{
  "Resources": {
    "Function": { "Type": "AWS::Lambda::Function", "Properties": { "Timeout": 60 } },
    "Mapping": {
      "Type": "AWS::Lambda::EventSourceMapping",
      "Properties": {
        "FunctionName": { "Ref": "Function" },
        "EventSourceArn": "arn:aws:dynamodb:eu-west-1:000000000000:table/Orders/stream/2025-06-15T15:06:40.000",
        "StartingPosition": "LATEST",
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "BisectBatchOnFunctionError": true,
        "MaximumRecordAgeInSeconds": 79200,
        "DestinationConfig": { "OnFailure": { "Destination": { "Fn::ImportValue": "failures" } } }
      }
    }
  }
}
"#;
    let folder = deployed(
        "[source.o]\ntable = 'Orders'\n[projection.p]\nkind = 'replica'\nfrom = 'o'\ntable = 'Rows'\nkey = { id = '{id}' }\n",
        template,
    );
    let arguments = ["check", "--config", "m.toml", "--template", "t.yaml", "--json"];
    let (printed, _) = said(&millstream(folder.path(), &arguments));
    let object: Value = serde_json::from_str(&printed).unwrap();
    let told = object["template"]["warnings"].as_array().unwrap();
    let about: Vec<(u64, &str)> =
        told.iter().map(|it| (it["line"].as_u64().unwrap(), it["subject"].as_str().unwrap())).collect();
    assert_eq!(about, [(1, "Resources"), (9, "Mapping")], "{object}");
    assert!(told[0]["text"].as_str().unwrap().contains("`Orders`, `Rows`, `millstream-ledger`"), "{object}");
    assert_eq!(told[1]["property"], "StartingPosition");
}

#[test]
fn what_is_no_template_is_said_with_its_line() {
    for (template, more, expected) in [
        ("A: [1, 2\nB: }\n", &[][..], "error: t.yaml:2: is neither YAML nor JSON: "),
        ("A: 1\n", &[], "error: t.yaml:1: is no template: it has no `Resources`"),
        ("", &[], "error: t.yaml:1: is no template: it has no `Resources`"),
        ("Resources: text\n", &[], "error: t.yaml:1: is no template: it has no `Resources`"),
        ("{\"Resources\": {", &[], "error: t.yaml:2: is neither YAML nor JSON: "),
        (TEMPLATE, &["--parameter", "Stag=x"], "error: t.yaml: has no parameter `Stag`; it has `Stage`"),
        (TEMPLATE, &["--parameter", "Stage"], "write NAME=VALUE, as in Stage=prod"),
    ] {
        let folder = deployed(CONFIG, template);
        let arguments = [&["check", "--config", "m.toml", "--template", "t.yaml"], more].concat();
        let output = millstream(folder.path(), &arguments);
        let (printed, told) = said(&output);
        assert_eq!((output.status.code(), printed.as_str()), (Some(2), ""), "{told}");
        assert!(told.contains(expected), "`{expected}` is missing in {told}");
    }
    let folder = deployed(CONFIG, TEMPLATE);
    let output = millstream(folder.path(), &["check", "--config", "m.toml", "--template", "none.yaml"]);
    assert_eq!(
        (output.status.code(), said(&output).1.contains("cannot read the template none.yaml")),
        (Some(2), true)
    );
}

/// The template that is shipped says what its config needs, no less and no more; what is broken in it is found.
#[test]
fn the_shipped_template_fits_its_config() {
    let (config, template) = (root().join("infra/millstream.toml"), root().join("infra/template.yaml"));
    let (config, template) = (fs::read_to_string(config).unwrap(), fs::read_to_string(template).unwrap());
    assert_eq!(findings(&config, &template, &[]), [""; 0]);
    assert_eq!(findings(&config, &template, &["--parameter", "Stage=prod"]), [""; 0]);
    let drop = |part: &str| -> String {
        assert!(template.contains(part), "`{part}` is missing");
        template.lines().filter(|line| !line.contains(part)).map(|line| format!("{line}\n")).collect()
    };
    let change = |from: &str, to: &str| {
        assert!(template.contains(from), "`{from}` is missing");
        template.replace(from, to)
    };
    for (broken, found) in [
        (drop("BisectBatchOnFunctionError"), "BisectBatchOnFunctionError: is not on"),
        (drop("FunctionResponseTypes"), "FunctionResponseTypes: does not have ReportBatchItemFailures"),
        (drop("DestinationConfig"), "DestinationConfig: has no on-failure destination"),
        (drop("- Pattern: '{\"eventName\""), "FilterCriteria: is not the filter of this config"),
        (
            change("VisibilityTimeout: 360", "VisibilityTimeout: 60"),
            "VisibilityTimeout: 60 s is less than six times",
        ),
        (change("NEW_AND_OLD_IMAGES", "KEYS_ONLY"), "StreamSpecification: KEYS_ONLY carries neither"),
        (
            change("-millstream-ledger", "-millstream-leger"),
            "the template has no table `dev-millstream-ledger`",
        ),
        (change("dynamodb:UpdateItem, ", ""), "Policies: lacks dynamodb:UpdateItem on"),
        (change("dynamodb:Query", "dynamodb:Scan"), "Policies: grants dynamodb:Scan on"),
        (change("Action: sns:Publish", "Action: sns:*"), "Policies: grants sns:* on"),
    ] {
        let told = findings(&config, &broken, &[]);
        assert!(told.iter().any(|it| it.contains(found)), "`{found}` is missing: {told:#?}");
    }
}
