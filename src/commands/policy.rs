//! `millstream policy`: what each role has to be allowed to do for this config, and nothing else.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use millstream_processor::permissions::{Deployment, OnFailure, Place, Role, Statement};
use millstream_processor::wiring::{self, CONFIG_FILE, CONFIG_VARIABLE};
use millstream_projections::SourceName;
use millstream_projections::config::Config;

use super::Failure;
use crate::deployment::document::{Call, Part};
use crate::output::{complain, print};

/// Prints the IAM policy that each role needs for this config, and nothing more. Asks no service.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// The config file; without it, what MILLSTREAM_CONFIG names, or millstream.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Whose policy; may be given several times [default: all that the config has work for, but setup and migration]
    #[arg(long, value_name = "ROLE", value_enum)]
    role: Vec<RoleName>,
    /// Only what this source of the config needs; may be given several times, as for a function a source
    #[arg(long, value_name = "NAME")]
    source: Vec<String>,
    /// The ARN of the queue, topic or bucket that the event source mapping of a stream tells of what it gives up on
    #[arg(long, value_name = "ARN", value_parser = OnFailure::parse)]
    on_failure: Option<OnFailure>,
    /// The lease table that `millstream migrate kcl` reads, which the role migration needs
    #[arg(long, value_name = "TABLE", value_parser = NonEmptyStringValueParser::new())]
    lease_table: Option<String>,
    /// Where the tables are [default: where the topics and queues of the config are]
    #[arg(long, value_name = "REGION", value_parser = region)]
    region: Option<String>,
    /// Whose they are [default: whose the topics and queues of the config are]
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    account: Option<String>,
    /// YAML for a template, with the Region and the account of the stack
    #[arg(long)]
    cloudformation: bool,
}

/// A role on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleName {
    /// The function that streams invoke
    StreamFunction,
    /// The function that queues and topics invoke
    QueueFunction,
    /// `millstream run`
    Poller,
    /// `millstream replay` and `millstream status`
    Operator,
    /// `millstream setup`, where no template makes the tables
    Setup,
    /// `millstream migrate kcl`, once; needs --lease-table
    Migration,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::StreamFunction => Self::StreamFunction,
            RoleName::QueueFunction => Self::QueueFunction,
            RoleName::Poller => Self::Poller,
            RoleName::Operator => Self::Operator,
            RoleName::Setup => Self::Setup,
            RoleName::Migration => Self::Migration,
        }
    }
}

/// As `eu-west-1` or `us-gov-east-1`: words, and a number.
pub(crate) fn region(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('-').collect();
    let is_region = match parts.as_slice() {
        [words @ .., number] if words.len() >= 2 => {
            let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|it| it.is_ascii_lowercase());
            words.iter().all(is_word) && !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit())
        }
        _ => false,
    };
    match is_region {
        true => Ok(text.to_owned()),
        false => Err("a Region is words and a number, as in eu-west-1".to_owned()),
    }
}

/// Twelve digits.
pub(crate) fn account(text: &str) -> Result<String, String> {
    match text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err("an account has 12 digits".to_owned()),
    }
}

/// Runs the command.
pub(crate) fn run(args: &PolicyArgs) -> Result<ExitCode, Failure> {
    let named = || std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from);
    let path = args.config.clone().or_else(named).unwrap_or_else(|| CONFIG_FILE.into());
    let config = wiring::load(&path).map_err(|error| Failure::Wrong(error.to_string()))?;
    let sources = sources(&config, &args.source)?;
    let deployment = Deployment {
        config: &config,
        sources: &sources,
        on_failure: args.on_failure.as_ref(),
        lease_table: args.lease_table.as_deref(),
    };
    let roles = roles(args, &deployment, &path)?;
    let site = Site::of(args, &config, args.cloudformation);
    let policy = |role: Role, site: &Site| document(&deployment.grants(role).statements(&site.place), site);
    let policies = roles.iter().map(|role| (*role, policy(*role, &site)));
    print(&page(policies.collect(), args.cloudformation))?;
    if !args.cloudformation {
        site.tell(args);
    }
    // A stack's own place is known when it is made: until then any other is as long.
    let plain = Site::of(args, &config, false);
    roles.iter().for_each(|role| tell_size(*role, &policy(*role, &plain)));
    Ok(ExitCode::SUCCESS)
}

/// What IAM takes: white space does not count.
const MANAGED: usize = 6_144;
/// What the inline policies of a role have at most, all together.
const INLINE: usize = 10_240;

/// Says so where a policy is more than IAM takes.
fn tell_size(role: Role, policy: &Part) {
    // A document has no keys but texts.
    let size = serde_json::to_string(policy).unwrap_or_default().len();
    let advice =
        "--source prints what some of the sources need, for a role of its own or for several policies of one";
    if size > INLINE {
        complain(&format!(
            "warning: the policy of {role} has {size} characters, more than IAM takes in a managed policy, {MANAGED}, or inline, \
             {INLINE}: {advice}"
        ));
    } else if size > MANAGED {
        complain(&format!(
            "warning: the policy of {role} has {size} characters, more than IAM takes in a managed policy, {MANAGED}; inline a role \
             can have {INLINE}: {advice}"
        ));
    }
}

/// The sources of that name; a name that the config does not have is a slip.
pub(crate) fn sources(config: &Config, names: &[String]) -> Result<Vec<SourceName>, Failure> {
    let find = |name: &String| {
        let found = config.sources.iter().find(|source| source.name.as_str() == name);
        found.map(|source| source.name.clone()).ok_or_else(|| {
            let known: Vec<_> = config.sources.iter().map(|it| format!("`{}`", it.name)).collect();
            Failure::Wrong(format!("there is no source `{name}`; known are {}", known.join(", ")))
        })
    };
    names.iter().map(find).collect()
}

fn roles(args: &PolicyArgs, deployment: &Deployment<'_>, path: &Path) -> Result<Vec<Role>, Failure> {
    let mut roles: Vec<Role> = args.role.iter().copied().map(Role::from).collect();
    roles.sort_unstable();
    roles.dedup();
    let asked = !roles.is_empty();
    if roles.contains(&Role::Migration) != args.lease_table.is_some() {
        return Err(Failure::Wrong("the role migration and --lease-table go together".to_owned()));
    }
    if !asked {
        roles = Role::USUAL.into();
    }
    let is_idle = |role: &Role| deployment.grants(*role).is_empty();
    match roles.iter().find(|role| is_idle(role)) {
        Some(idle) if asked => {
            let (what, file) = (reads(*idle), path.display());
            Err(Failure::Wrong(format!("{file} has no work for the role {idle}: it reads {what}")))
        }
        _ => {
            roles.retain(|role| !is_idle(role));
            Ok(roles)
        }
    }
}

fn reads(role: Role) -> &'static str {
    match role {
        Role::StreamFunction | Role::Migration => "tables",
        Role::Poller => "tables and queues",
        Role::QueueFunction => "queues and topics",
        Role::Operator | Role::Setup => "sources",
    }
}

/// What stands in an ARN for what only CloudFormation knows, whose own names have colons in them.
const PARTITION: &str = "<partition>";
const REGION: &str = "<region>";
const ACCOUNT: &str = "<account>";

/// Where the deployment is, as far as it is known.
struct Site {
    /// For resources that the config names without a place.
    place: Place,
    /// The deployment's own Region and account, where they are known.
    region: Option<String>,
    account: Option<String>,
    cloudformation: bool,
}

impl Site {
    fn of(args: &PolicyArgs, config: &Config, cloudformation: bool) -> Self {
        let (region, account) = Place::named_in(config);
        let region = args.region.clone().or(region);
        let account = args.account.clone().or(account);
        let known = |value: &Option<String>, token: &str| match cloudformation {
            true => token.to_owned(),
            false => value.clone().unwrap_or_else(|| token.to_owned()),
        };
        let partition = region.as_deref().map_or("aws", Place::partition_of).to_owned();
        let place = Place {
            partition: known(&Some(partition), PARTITION),
            region: known(&region, REGION),
            account: known(&account, ACCOUNT),
        };
        Self { place, region, account, cloudformation }
    }

    fn resource(&self, arn: &str) -> Part {
        let arn = if self.cloudformation { self.of_the_stack(arn) } else { arn.to_owned() };
        let tokens =
            [(PARTITION, "${AWS::Partition}"), (REGION, "${AWS::Region}"), (ACCOUNT, "${AWS::AccountId}")];
        let named = tokens.iter().fold(arn.clone(), |arn, (token, name)| arn.replace(token, name));
        match self.cloudformation && named != arn {
            true => Part::Call(Call::Sub, named),
            false => Part::Text(named),
        }
    }

    /// A topic or a queue beside the tables moves with the stack, too.
    fn of_the_stack(&self, arn: &str) -> String {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        match (parts.as_slice(), &self.region, &self.account) {
            (["arn", _, service, region, account, name], Some(own), Some(whose))
                if own == region && whose == account =>
            {
                format!("arn:{PARTITION}:{service}:{REGION}:{ACCOUNT}:{name}")
            }
            _ => arn.to_owned(),
        }
    }

    /// Says where the ARNs come from, where that was not said.
    fn tell(&self, args: &PolicyArgs) {
        let unsaid = |said: bool, known: &Option<String>, what: &str| match (said, known) {
            (true, _) => {}
            (false, Some(known)) => complain(&format!(
                "note: the tables are taken to be in {what} {known}, as the config's topics and queues are; --{what} says otherwise"
            )),
            (false, None) => complain(&format!(
                "note: the config does not tell the {what} of its tables: say --{what}, or put it in where ${{AWS::…}} stands"
            )),
        };
        unsaid(args.region.is_some(), &self.region, "region");
        unsaid(args.account.is_some(), &self.account, "account");
    }
}

fn document(statements: &[Statement], site: &Site) -> Part {
    let statement = |statement: &Statement| {
        let resources = statement.resources.iter().map(|arn| site.resource(arn));
        Part::map([
            ("Sid", Part::text(&statement.sid)),
            ("Effect", Part::text("Allow")),
            ("Action", Part::list(statement.actions.iter().copied())),
            ("Resource", Part::List(resources.collect())),
        ])
    };
    let statements = statements.iter().map(statement).collect();
    Part::map([("Version", Part::text("2012-10-17")), ("Statement", Part::List(statements))])
}

/// One policy is a document as AWS takes it; several are one object, by role.
fn page(mut policies: Vec<(Role, Part)>, cloudformation: bool) -> String {
    if cloudformation {
        let one = |(role, policy): &(Role, Part)| format!("# {role}\n{}", policy.to_yaml());
        return policies.iter().map(one).collect::<Vec<_>>().join("---\n");
    }
    match policies.as_mut_slice() {
        [(_, policy)] => policy.to_json(),
        _ => {
            let by_role = policies.into_iter().map(|(role, policy)| (role.to_string(), policy));
            Part::Map(by_role.collect()).to_json()
        }
    }
}
