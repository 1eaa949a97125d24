//! README's section "Deploy", typed as it stands there: the SAM CLI, the AWS CLI, and an emulator that asks every role for
//! its permissions. What the page builds for arm64 is here the test's own binary, for the machine that runs it.

use std::collections::{BTreeSet, HashMap};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_dynamodb::types::AttributeValue;
use millstream_test_support::emulators::Ministack;
use millstream_test_support::tools;
use serde_json::Value;
use tempfile::TempDir;

use crate::function::bootstrap;
use crate::images::architectures;
use crate::workbench::{blocks, folder, path, said, section, text, write};

/// What has not happened by then never will.
const GUARD: Duration = Duration::from_secs(60);
/// How often a row is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The tables that stay when the stack goes.
const TABLES: [&str; 9] = [
    "dev-AccountingOrders",
    "dev-CompanyProfile",
    "dev-CompanyStatistics",
    "dev-Orders",
    "dev-OrdersByCustomer",
    "dev-millstream-ledger",
    "dev-millstream-letters",
    "dev-millstream-state",
    "dev-millstream-values",
];

/// For SQS the AWS CLI asks an old name of AWS's, whatever AWS_ENDPOINT_URL says.
const AT_THE_EMULATOR: &str = r#"aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }"#;

type Item = HashMap<String, AttributeValue>;

/// A terminal in a copy of the repository's `infra/`, with a clean account behind it.
struct Terminal {
    services: Ministack,
    folder: TempDir,
    bootstrap: PathBuf,
    db: Client,
}

impl Terminal {
    async fn open() -> Self {
        let services = Ministack::start_for_sam().await;
        let folder = folder();
        let copied = Command::new("cp").arg("-R").arg(path("infra")).arg(folder.path()).status();
        assert!(copied.expect("there is a `cp`").success());
        let bootstrap = stripped(folder.path());
        let credentials = Credentials::new("test", "test", None, None, "the account's own");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(services.endpoint())
            .credentials_provider(SharedCredentialsProvider::new(credentials));
        Self { services, folder, bootstrap, db: Client::new(&config.build()) }
    }

    /// Types some lines; what they say.
    fn types(&self, lines: &str) -> String {
        let millstream =
            Path::new(env!("CARGO_BIN_EXE_millstream")).parent().expect("a binary is in a folder");
        let programs = [tools::sam(), millstream.to_owned()];
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(programs.into_iter().chain(env::split_paths(&path)));
        let mut shell = Command::new("sh");
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if ["AWS_", "SAM_", "MILLSTREAM_", "STAGE"].iter().any(|start| text.starts_with(start)) {
                shell.env_remove(&name);
            }
        }
        shell
            .args(["-euc", &format!("{AT_THE_EMULATOR}\n{lines}")])
            .current_dir(self.folder.path())
            .env("PATH", path.expect("a path of folders"));
        // Nothing of this machine's account or settings.
        shell.env("HOME", self.folder.path()).env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_PAGER", "");
        shell.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        shell.env("AWS_REGION", "eu-west-1").env("AWS_DEFAULT_REGION", "eu-west-1").env("AWS_OUTPUT", "json");
        shell.env("AWS_ENDPOINT_URL", self.services.endpoint());
        shell.env("SAM_CLI_TELEMETRY", "0").env("BOOTSTRAP", &self.bootstrap);
        said(&mut shell)
    }

    async fn row(&self, table: &str, name: &str, value: &str) -> Option<Item> {
        let key = AttributeValue::S(value.to_owned());
        let read = self.db.get_item().table_name(table).key(name, key).consistent_read(true).send();
        read.await.expect("the table is there").item
    }

    /// Waits until a row is as it ought to be.
    async fn sees(&self, table: &str, (name, value): (&str, &str), is_right: impl Fn(&Item) -> bool) {
        let started = Instant::now();
        loop {
            let row = self.row(table, name, value).await;
            if row.as_ref().is_some_and(&is_right) {
                return;
            }
            assert!(started.elapsed() < GUARD, "{table}: {row:?}\n{}", self.services.output());
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn tables(&self) -> BTreeSet<String> {
        let tables = self.db.list_tables().send().await.expect("the services are up");
        tables.table_names.unwrap_or_default().into_iter().collect()
    }
}

/// The function of this very source, without what only a debugger reads: an upload of it is half as large.
fn stripped(folder: &Path) -> PathBuf {
    let stripped = folder.join("bootstrap");
    said(Command::new("strip").arg("-o").arg(&stripped).arg(bootstrap()));
    stripped
}

fn text_of<'a>(row: &'a Item, name: &str) -> Option<&'a str> {
    row.get(name)?.as_s().ok().map(String::as_str)
}

fn number_of<'a>(row: &'a Item, name: &str) -> Option<&'a str> {
    row.get(name)?.as_n().ok().map(String::as_str)
}

/// An order of nobody, which no projection can keep: it becomes letters by the deployed function.
const POISON: &str = r#"aws dynamodb put-item --table-name dev-Orders --item '{"orderId": {"S": "o2"}, "status": {"S": "PAID"}, "total": {"N": "1"}}'"#;

/// The runbook's first block, and those of Letters and StreamGaveUp, typed where something is wrong.
async fn a_letter_is_mended_as_the_runbook_says(terminal: &Terminal) {
    let page = text("infra/RUNBOOK.md");
    let [first, rights, ..] = &blocks(&page, "sh")[..] else { panic!("it begins with two blocks") };
    let [look, mend, timer] = &blocks(section(&page, "Letters"), "sh")[..] else {
        panic!("look, mend, a timer")
    };
    let (apply, discard) = mend.split_once('\n').expect("two commands");
    let (given, asked) = first.rsplit_once('\n').expect("what is given, and what the stack is asked for");
    let asked =
        terminal.types(&format!("{given}\n{asked}\nprintenv COMPANY_CHANGED_TOPIC COMPANY_EVENTS_QUEUE"));
    let [topic, queue] = asked.lines().collect::<Vec<_>>()[..] else { panic!("two outputs: {asked}") };
    assert!(topic.ends_with(":dev-company-changed") && queue.ends_with("/dev-company-events"), "{asked}");
    // As it was answered: each question takes its time.
    let first = format!("{given}\nexport COMPANY_CHANGED_TOPIC={topic} COMPANY_EVENTS_QUEUE={queue}");
    let ids = format!("{first}\nmillstream replay list --ids --projection orders-for-accounting");
    let (started, _) = (Instant::now(), terminal.types(POISON));
    let id = loop {
        let listed = terminal.types(&ids);
        if let Some(id) = listed.split(' ').next().filter(|id| !id.is_empty()) {
            break id.to_owned();
        }
        assert!(started.elapsed() < GUARD, "no letter\n{}", terminal.services.output());
        tokio::time::sleep(LOOK).await;
    };
    let looked = terminal.types(&format!("{first}\nID={id}\n{look}"));
    for part in ["rejected", "orders-by-customer", &id, "customer.name"] {
        assert!(looked.contains(part), "{part}: {looked}");
    }
    let told = terminal.types(&format!("{first}\n{timer}\ncat letters.prom"));
    assert!(told.contains("millstream_oldest_letter_seconds{") && told.contains("`customer.name`"), "{told}");
    // What is wrong in the item itself, no replay mends. At a terminal it asks first.
    let applied = terminal.types(&format!("{first}\n! {apply} --yes 2>&1"));
    assert!(applied.contains("1 failed"), "{applied}");
    terminal.types(&format!("{first}\nID={id}\n{discard}"));
    assert_eq!(terminal.types(&ids), "");

    let [_, again] = &blocks(section(&page, "StreamErrors and QueueErrors"), "sh")[..] else {
        panic!("look and mend")
    };
    let again = terminal.types(&format!("{first}\n{again} 2>&1"));
    assert!(again.contains("Stack millstream-dev is up to date"), "the same, in the same place: {again}");

    let lost = blocks(section(&page, "StreamGaveUp"), "sh").join("\n");
    let lost = terminal.types(&format!("{first}\n{rights}\n{lost}"));
    assert!(lost.contains(":dev-millstream-stream-failures\""), "the operator may read the queue: {lost}");
    assert!(lost.contains("\"ApproximateNumberOfMessages\": \"0\""), "{lost}");
    assert!(lost.contains("0 new letters from 0 documents"), "{lost}");
}

/// An event that SNS could not deliver is sent on, with all that a shell might take for its own.
async fn an_event_is_sent_on_as_the_runbook_says(terminal: &Terminal) {
    let page = text("infra/RUNBOOK.md");
    let [first, ..] = &blocks(&page, "sh")[..] else { panic!("it begins with a block") };
    let [look, mend] = &blocks(section(&page, "QueueMissed"), "sh")[..] else { panic!("look and mend") };
    let golden: Value =
        serde_json::from_str(&text("processor/tests/golden/queue_raw_fifo.json")).expect("JSON");
    let event = golden["Records"][0]["body"].as_str().expect("an event");
    write(&terminal.folder.path().join("event"), event);
    let lose = r#"aws dynamodb put-item --table-name dev-CompanyStatistics --item '{"statisticsId": {"S": "s2"}, "companyId": {"S": "c-1001"}}'
        aws sqs send-message --queue-url "$(output CompanyEventsUndelivered)" --message-body file://event"#;
    let looked = terminal.types(&format!("{first}\n{lose}\n{look}"));
    assert!(looked.contains("EventsOfTheTopic"), "{looked}");
    terminal.types(&format!("{first}\n{mend}"));
    let name = "Millwright & Söhne \"West\"";
    let has_name = |row: &Item| text_of(row, "companyName") == Some(name);
    terminal.sees("dev-CompanyStatistics", ("statisticsId", "s2"), has_name).await;
    // There is no second one, and nothing to send is no fault.
    let again = terminal.types(&format!("{first}\n{mend}"));
    assert!(!again.contains("MessageId"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_section_deploy_does_what_it_says() {
    let page = text("README.md");
    let page = section(&page, "Deploy").replace("arm64", architectures().0);
    for version in [format!("aws-sam-cli=={}", tools::SAM), format!("awscli=={}", tools::AWS_CLI)] {
        assert!(page.contains(&version), "the page installs what is tested: {version}");
    }
    let blocks = blocks(&page, "sh");
    let [deploy, put, read, alarms, update, delete] = &blocks[..] else {
        panic!("other blocks than before: {blocks:#?}")
    };
    let terminal = Terminal::open().await;

    let deployed = terminal.types(deploy);
    assert!(deployed.contains("infra/template.yaml: 0 warnings"), "{deployed}");
    assert!(deployed.contains("Successfully created/updated stack - millstream-dev"), "{deployed}");
    assert_eq!(terminal.tables().await, TABLES.map(str::to_owned).into());
    // Each table of our own is what `setup` would have made; else it complains.
    let setup = terminal.types(
        "export STAGE=dev COMPANY_CHANGED_TOPIC=arn:aws:sns:eu-west-1:000000000000:t COMPANY_EVENTS_QUEUE=https://q/0/q
         millstream setup --config infra/millstream.toml",
    );
    for table in TABLES.iter().filter(|table| table.starts_with("dev-millstream-")) {
        assert!(setup.contains(table), "{setup}");
    }
    assert_eq!(terminal.tables().await.len(), TABLES.len());

    terminal.types(put);
    let company = ("statisticsId", "s1");
    terminal
        .sees("dev-CompanyStatistics", company, |row| text_of(row, "companyName") == Some("Amber Mills"))
        .await;
    terminal
        .sees("dev-OrdersByCustomer", ("customer", "Ada"), |row| number_of(row, "orders") == Some("1"))
        .await;
    terminal
        .sees("dev-AccountingOrders", ("orderId", "o1"), |row| number_of(row, "total") == Some("19.9"))
        .await;
    let rows = terminal.types(read);
    for part in ["Amber Mills", "revenue", "19.9"] {
        assert!(rows.contains(part), "{part}: {rows}");
    }

    let shown = terminal.types(alarms);
    assert_eq!(shown.lines().filter(|line| line.starts_with("dev-millstream-")).count(), 12, "{shown}");

    a_letter_is_mended_as_the_runbook_says(&terminal).await;
    an_event_is_sent_on_as_the_runbook_says(&terminal).await;

    let updated = terminal.types(update);
    assert!(updated.contains("Successfully created/updated stack - millstream-dev"), "{updated}");
    let functions = terminal
        .types("aws lambda list-functions --query 'Functions[].[FunctionName,MemorySize,Architectures[0]]'");
    let words: Vec<&str> = functions
        .split(|c: char| !c.is_alphanumeric() && !"-_".contains(c))
        .filter(|it| !it.is_empty())
        .collect();
    let own = architectures().0;
    assert_eq!(words, ["dev-millstream-queues", "1024", own, "dev-millstream-streams", "1024", own]);
    // A rename reaches the copies by the topic and the queue, as before the update.
    let renamed = Item::from(
        [("companyId", "c1"), ("name", "Birch Paper")]
            .map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned()))),
    );
    let put = terminal.db.put_item().table_name("dev-CompanyProfile").set_item(Some(renamed)).send().await;
    put.expect("the table is there");
    terminal
        .sees("dev-CompanyStatistics", company, |row| text_of(row, "companyName") == Some("Birch Paper"))
        .await;

    terminal.types(delete);
    assert_eq!(terminal.types("aws lambda list-functions --query 'length(Functions)'").trim(), "0");
    assert_eq!(terminal.types(alarms).trim(), "");
    assert_eq!(terminal.tables().await, TABLES.map(str::to_owned).into());
    assert!(
        terminal.row("dev-AccountingOrders", "orderId", "o1").await.is_some(),
        "what is retained keeps its rows"
    );
    let folder = fs::read_dir(terminal.folder.path().join("target/deploy")).expect("what was deployed");
    assert_eq!(folder.count(), 2);
}
