//! What may surprise in a config that is right.

use millstream_projections::config::{Config, lint};

/// The warnings of a config: their subjects and texts.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let config = Config::parse("m.toml", text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
    let warnings = lint(&config);
    let found: Vec<String> = warnings.iter().map(|it| format!("{}: {}", it.subject, it.text)).collect();
    assert_eq!(found, expected, "{text}");
    assert!(warnings.iter().all(|warning| !warning.advice.is_empty() && warning.line > 0));
}

/// As `check`, for projections that follow the table `Table`.
#[track_caller]
fn check_projections(projections: &[&str], expected: &[&str]) {
    let mut text = "[source.a]\ntable = 'Table'\n".to_owned();
    for (place, projection) in projections.iter().enumerate() {
        text.push_str(&format!("[projection.p{}]\nfrom = 'a'\n{projection}\n", place + 1));
    }
    check(&text, expected);
}

const REPLICA: &str = "kind = 'replica'\ntable = 'Rows'\nkey = { id = '{id}' }\nset = { b = '{b}' }";
const COPY: &str = "kind = 'copy'\ntable = 'Rows'\nkey = { id = '{id}' }\nset = { b = '{b}' }";
const EMIT: &str = "kind = 'emit'\ntopic = 'arn:aws:sns:r:1:t'";

#[test]
fn sources() {
    check(
        &format!(
            "[source.a]\ntable = 'Table'\nstart = 'latest'\n[source.b]\ntopic = 'arn:aws:sns:r:1:t'\n\
             [source.c]\ntopic = 'arn:aws:sns:r:1:t.fifo'\n[projection.p]\nfrom = 'a'\n{EMIT}\n\
             [projection.q]\nfrom = 'b'\n{REPLICA}\n"
        ),
        &[
            "source.a: start = \"latest\" can miss the changes made while the poller starts for the first time",
            "source.b: a topic that invokes the Lambda directly cannot be told which messages failed",
            "source.c: a FIFO topic delivers to queues only, never to a Lambda",
            "source.c: no projection follows it: its changes are read and forgotten",
        ],
    );
}

#[test]
fn starts_that_the_stream_has_forgotten() {
    let warnings = |now: u64| {
        let text = format!(
            "[source.a]\ntable = 'Table'\nstart = '2025-06-15T15:06:40Z'\n[projection.p]\nfrom = 'a'\n{EMIT}\n"
        );
        let config = Config::parse_at("m.toml", &text, &|_| None, now).unwrap();
        lint(&config).into_iter().map(|it| format!("{}: {}", it.subject, it.text)).collect::<Vec<_>>()
    };
    assert_eq!(warnings(1_750_000_000 + 86_400), Vec::<String>::new());
    assert_eq!(
        warnings(1_750_000_000 + 86_401),
        [
            "source.a: start = \"2025-06-15T15:06:40Z\" is more than 24 h ago, and the stream remembers no more: \
             it means trim-horizon"
        ],
    );
    check(
        &format!(
            "[source.a]\ntable = 'Table'\nstart = '2025-06-15T15:06:40Z'\n[projection.p]\nfrom = 'a'\n{EMIT}\n"
        ),
        &[],
    );
}

#[test]
fn changes_that_nobody_notices() {
    check_projections(
        &[&format!("{EMIT}\nchanged = ['b']\ninclude = ['b', 'c']")],
        &["projection.p1: a change of `c` alone is not noticed: it is not in `changed`"],
    );
    check_projections(
        &[&format!("{REPLICA}\nchanged = ['c']")],
        &["projection.p1: a change of `b` alone is not noticed: it is not in `changed`"],
    );
    check_projections(
        &["kind = 'replica'\ntable = 'Rows'\nkey = { id = '{id}' }\nchanged = ['c']"],
        &["projection.p1: keeps the whole item, but only a change of an attribute in `changed` is written"],
    );
    check_projections(&[&format!("{REPLICA}\nchanged = ['b', 'c']")], &[]);
    check_projections(&[&format!("{EMIT}\nchanged = ['b']\ninclude = ['b']")], &[]);
}

#[test]
fn keys_and_names() {
    check_projections(
        &["kind = 'replica'\ntable = 'Rows'\nkey = { id = 'THE ONE' }"],
        &["projection.p1: the key is the same for every item: all of them share one row"],
    );
    check_projections(
        &[&format!("{EMIT}\nchanged = ['customer.name']")],
        &["projection.p1: `customer.name` is read as the name of one top-level attribute, not as a path"],
    );
}

#[test]
fn optional_attributes_in_where() {
    let replica = "kind = 'replica'\ntable = 'Rows'\nkey = { id = '{id}' }\nset = { b = '{b?}' }";
    check_projections(
        &[&format!("{replica}\nwhere = 'new.b == 1'")],
        &[
            "projection.p1: `where` reads `new.b`, which `set` takes to be optional: an item without it becomes a letter",
        ],
    );
    check_projections(&[&format!("{replica}\nwhere = 'has(new.b) && new.b == 1'")], &[]);
    check_projections(&[&format!("{replica}\nwhere = 'new.bc == 1'")], &[]);
}

#[test]
fn projections_of_one_table() {
    check_projections(
        &[REPLICA, REPLICA],
        &["projection.p2: may put the same rows as `p1`: each would overwrite what the other put"],
    );
    check_projections(
        &[REPLICA, COPY],
        &[
            "projection.p2: writes to the same table as `p1`: a replica puts whole rows, without what a copy added to them",
        ],
    );
    check_projections(
        &[COPY, COPY],
        &[
            "projection.p2: copies `b` to the same table as `p1`: the guards of the two know nothing of each other",
        ],
    );
    let other = "kind = 'copy'\ntable = 'Rows'\nkey = { id = '{id}' }\nset = { c = '{c}' }";
    check_projections(&[COPY, other], &[]);
    let found = "kind = 'copy'\ntable = 'Rows'\nmatch = { index = 'by-x', key = { x = '{id}' } }\nset = { b = '{b}' }";
    check_projections(
        &[COPY, found],
        &[
            "projection.p2: copies `b` to the same table as `p1`: the guards of the two know nothing of each other",
        ],
    );
}

#[test]
fn keys_that_begin_with_different_text_never_meet() {
    let keyed =
        |key: &str| format!("kind = 'replica'\ntable = 'Rows'\nkey = {{ pk = '{key}', sk = '{{id}}' }}");
    check_projections(&[&keyed("USER#{id}"), &keyed("ORDER#{id}")], &[]);
    check_projections(&[&keyed("USER"), &keyed("ORDER")], &[]);
    let meet = ["projection.p2: may put the same rows as `p1`: each would overwrite what the other put"];
    check_projections(&[&keyed("USER#{id}"), &keyed("USER#{id}")], &meet);
    check_projections(&[&keyed("A{id}"), &keyed("AB{id}")], &meet);
    check_projections(&[&keyed("AB{id}"), &keyed("A{id}")], &meet);
    check_projections(&[&keyed("A{id}"), &keyed("{id}")], &meet);
}

#[test]
fn a_projection_into_its_own_source() {
    let replica = "kind = 'replica'\ntable = 'Table'\nkey = { id = 'COPY#{id}' }";
    check_projections(
        &[replica],
        &["projection.p1: writes to the table it follows: every write is a change again, without end"],
    );
    check_projections(&[&format!("{replica}\nwhere = '!new.id.startsWith(\"COPY#\")'")], &[]);
}

#[test]
fn images_that_may_be_needed() {
    let check = |view: &str, projection: &str, expected: &[&str]| {
        let text = format!(
            "[source.a]\ntable = 'Table'\nstream_view = '{view}'\n[projection.p]\nfrom = 'a'\n{projection}\n"
        );
        self::check(&text, expected);
    };
    check(
        "NEW_IMAGE",
        REPLICA,
        &[
            "projection.p: with stream_view = \"NEW_IMAGE\" the former row is found by the source's key alone: \
         `id` has to be part of it",
        ],
    );
    check(
        "OLD_IMAGE",
        &format!("{EMIT}\ninclude = ['b']"),
        &["projection.p: with stream_view = \"OLD_IMAGE\" events carry the item before the change only"],
    );
    check("KEYS_ONLY", EMIT, &[]);
    for fold in [TOTALS, INDEX] {
        check(
            "NEW_IMAGE",
            fold,
            &[
                "projection.p: with stream_view = \"NEW_IMAGE\" what an item contributed before is only in the ledger: \
               each modification and removal takes a second request",
            ],
        );
    }
}

const TOTALS: &str = "kind = 'aggregate'\ntable = 'Rows'\ngroup = { id = '{c}' }\ncount = 'n'";
const INDEX: &str = "kind = 'index'\ntable = 'Rows'\nkey = { id = '{v}' }";

#[test]
fn folds() {
    check_projections(&[TOTALS], &[]);
    check_projections(&[INDEX], &[]);
    check_projections(
        &["kind = 'aggregate'\ntable = 'Rows'\ngroup = { id = 'ALL' }\ncount = 'n'"],
        &[
            "projection.p1: the group is the same for every item: all changes wait for one another at one totals row",
        ],
    );
    check_projections(
        &["kind = 'aggregate'\ntable = 'Rows'\nshards = 4\ngroup = { id = 'ALL#{ms:shard}' }\ncount = 'n'"],
        &[],
    );
    check_projections(&[&format!("{TOTALS}\nsum = {{ s = '{{s}}' }}\nchanged = ['other']")], &[]);
    check_projections(
        &[&format!("{TOTALS}\nsum = {{ s = '{{s?}}' }}\nwhere = 'new.s > 1'")],
        &[
            "projection.p1: `where` reads `new.s`, which a template takes to be optional: an item without it becomes a letter",
        ],
    );
    check_projections(
        &["kind = 'index'\ntable = 'Rows'\nkey = { id = '{v?}' }\nwhere = 'new.v != \"\"'"],
        &[
            "projection.p1: `where` reads `new.v`, which a template takes to be optional: an item without it becomes a letter",
        ],
    );
}

#[test]
fn lookups_that_meet_or_lead_nowhere() {
    let tags = |key: &str, rest: &str| {
        format!("kind = 'index'\ntable = 'Rows'\neach = '{{tags?}}'\nkey = {{ {key} }}\nset = {{ {rest} }}")
    };
    let (tag, both) = ("id = '{ms:each}'", "id = '{ms:each}', item = '{id}'");
    check_projections(
        &[&format!("{}\nunique = false", tags(tag, "item = '{id}'"))],
        &[
            "projection.p1: is not unique, but its key reads `ms:each` alone: the second item with the same value becomes a letter",
        ],
    );
    check_projections(&[&format!("{}\nunique = false", tags(both, "kind = 'x'"))], &[]);
    check_projections(
        &[&tags(tag, "kind = 'x', tag = '{ms:each}'")],
        &["projection.p1: its rows lead to no item: `set` reads nothing of it"],
    );
}

#[test]
fn folds_beside_others() {
    check_projections(
        &[INDEX, INDEX],
        &["projection.p2: may ask for the same rows as `p1`: whichever comes second becomes a letter"],
    );
    check_projections(
        &[REPLICA, INDEX],
        &["projection.p2: may put the same rows as `p1`: each would overwrite what the other put"],
    );
    check_projections(
        &[TOTALS, REPLICA],
        &[
            "projection.p2: writes to the same table as `p1`: a replica puts whole rows, without what an aggregate added to them",
        ],
    );
    check_projections(
        &[INDEX, COPY],
        &[
            "projection.p2: writes to the same table as `p1`: an index puts whole rows, without what a copy added to them",
        ],
    );
    let averages = "kind = 'aggregate'\ntable = 'Rows'\ngroup = { id = '{c}' }\navg = { p = '{p}' }";
    check_projections(&[TOTALS, averages, COPY], &[]);
    check_projections(
        &[TOTALS, TOTALS],
        &["projection.p2: keeps `n` in the same rows as `p1`: the two know nothing of each other"],
    );
    check_projections(
        &[averages, "kind = 'copy'\ntable = 'Rows'\nkey = { id = '{id}' }\nset = { p_sum = '{b}' }"],
        &["projection.p2: keeps `p_sum` in the same rows as `p1`: the two know nothing of each other"],
    );
    check_projections(
        &[averages, &format!("{TOTALS}\non_empty = 'delete'")],
        &["projection.p2: shares rows with `p1`, and on_empty = \"delete\" takes them from both"],
    );
}
