//! `millstream policy` is enough and least: every role works under the policy that is printed for its config, all that it
//! asks is allowed, and each right that is granted is one without which a flow, which is named, is denied something.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail their test"
)]

mod demo;
mod events;
mod flows;
mod messages;
mod migration;
mod operator;
mod poller;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use millstream_processor::permissions::Role;
use millstream_test_support::emulators::Ministack;
use millstream_test_support::iam::Right;

use self::flows::{CHANGES, Flow, STREAM_MAPPING};
use self::operator::OPERATOR;
use self::poller::POLLER;
use self::world::{Stage, World};

/// What projections there are, as far as they need different rights.
const KINDS: &[(&str, &str)] = &[
    ("a replica", "kind = 'replica'\ntable = 'Rows'\nkey = { slot = '{slot}' }\nset = { n = '{n}' }"),
    (
        "a replica with inline tombstones",
        "kind = 'replica'\ntable = 'Rows'\nkey = { slot = '{slot}' }\nset = { n = '{n}' }\ntombstones = 'inline'",
    ),
    (
        "a replica that keeps its rows",
        "kind = 'replica'\ntable = 'Rows'\nkey = { slot = '{slot}' }\nset = { n = '{n}' }\non_delete = 'keep'",
    ),
    ("a copy", "kind = 'copy'\ntable = 'Rows'\nkey = { id = '{id}' }\nset = { n = '{n}' }"),
    (
        "a copy whose rows go",
        "kind = 'copy'\ntable = 'Rows'\nkey = { id = '{id}' }\nset = { n = '{n}' }\non_delete = 'delete'",
    ),
    (
        "a copy by an index",
        "kind = 'copy'\ntable = 'Rows'\nmatch = { index = 'by-thing', key = { thing = '{id}' } }\nset = { n = '{n}' }",
    ),
    (
        "a copy by an index whose rows go",
        "kind = 'copy'\ntable = 'Rows'\nmatch = { index = 'by-thing', key = { thing = '{id}' } }\nset = { n = '{n}' }\n\
         on_delete = 'delete'",
    ),
    (
        "totals",
        "kind = 'aggregate'\ntable = 'Rows'\ngroup = { who = '{who}' }\ncount = 'things'\nsum = { total = '{n}' }",
    ),
    (
        "totals that go when they are empty",
        "kind = 'aggregate'\ntable = 'Rows'\ngroup = { who = '{who}' }\ncount = 'things'\nsum = { total = '{n}' }\n\
         on_empty = 'delete'",
    ),
    (
        "the least of values",
        "kind = 'aggregate'\ntable = 'Rows'\ngroup = { who = '{who}' }\nsum = { total = '{n}' }\nmin = { least = '{n}' }",
    ),
    (
        "how many values there are",
        "kind = 'aggregate'\ntable = 'Rows'\ngroup = { who = '{who}' }\ncount = 'things'\nsum = { total = '{n}' }\n\
         distinct = { texts = '{text?}' }\non_empty = 'delete'",
    ),
    (
        "a lookup",
        "kind = 'index'\ntable = 'Rows'\nkey = { slot = '{slot}' }\nset = { n = '{n}' }\nunique = false",
    ),
    (
        "events",
        "kind = 'emit'\nwhere = 'new.n > 0'\ntopic = 'arn:aws:sns:eu-west-1:000000000000:things'\ninclude = ['n']",
    ),
];

fn kind(name: &str) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == name).unwrap().1
}

/// A config with some projections, each with a table of its own.
fn config(projections: &[&str]) -> String {
    let mut toml = "[source.things]\ntable = 'Things'\n[state]\nprefix = 't-'\n".to_owned();
    for (number, projection) in projections.iter().enumerate() {
        let projection = projection.replace("'Rows'", &format!("'Rows{number}'"));
        toml.push_str(&format!("[projection.p{number}]\nfrom = 'things'\n{projection}\n"));
    }
    toml
}

/// One role under one config: what its flows ask is allowed, and what is allowed is asked by one of them.
async fn check(name: &str, toml: &str, role: Role, more: &[&str], flows: &[&[Flow]]) {
    check_with(None, name, toml, role, more, flows).await;
}

/// The same, with a server for what is no table and no topic.
async fn check_with(
    services: Option<Arc<Ministack>>,
    name: &str,
    toml: &str,
    role: Role,
    more: &[&str],
    flows: &[&[Flow]],
) {
    let policy = World::new(toml, services.clone()).await.policy(role, more);
    let (services, policy) = (&services, &policy);
    let runs = flows.iter().copied().flatten().map(|(flow, run)| async move {
        let world = World::new(toml, services.clone()).await;
        let mut stage = Stage::new(world, role, policy.clone());
        run(&mut stage).await;
        let denied = stage.authority.denied();
        assert!(denied.is_empty(), "{role} of {name} may not, while {flow}: {denied:#?}");
        stage.authority.asked()
    });
    // A queue is one for all worlds; what has none runs side by side, since pollers mostly wait.
    let at_once = if services.is_some() { 1 } else { 12 };
    let asked: Vec<BTreeSet<Right>> =
        futures_util::stream::iter(runs).buffer_unordered(at_once).collect().await;
    let needless = policy.rights().iter().filter(|right| {
        let without = policy.without(right);
        !asked.iter().flatten().any(|asked| !without.allows(asked))
    });
    let needless: Vec<String> = needless.map(ToString::to_string).collect();
    assert!(needless.is_empty(), "{role} of {name} is granted what nothing asks: {needless:#?}");
}

/// One role under a config of each kind.
async fn each_kind(role: Role, flows: &[&[Flow]]) {
    for (name, projection) in KINDS {
        check(name, &config(&[projection]), role, &[], flows).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_streams_invoke() {
    each_kind(Role::StreamFunction, &[CHANGES, STREAM_MAPPING]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poller() {
    // What the pipeline itself asks does not depend on who runs it: all kinds at once.
    let all: Vec<&str> = KINDS.iter().map(|(_, projection)| *projection).collect();
    check("everything", &config(&all), Role::Poller, &[], &[CHANGES, POLLER]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator() {
    each_kind(Role::Operator, &[CHANGES, OPERATOR]).await;
}
