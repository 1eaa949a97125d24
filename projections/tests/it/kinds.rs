//! What follows from a change, kind by kind: settings and two images in, effects as lines of text out.

mod aggregate;
mod index;

use std::collections::BTreeMap;

use millstream_projections::effect::{Reach, Target, Write};
use millstream_projections::fold::{Contribution, Fold, Part, Share};
use millstream_projections::item::{Value, type_name};
use millstream_projections::{Change, ChangeKind, Effect, Image};
use serde_json::{Value as Json, json};

use crate::support::{config, moved};

fn plain(value: &Value) -> String {
    match value {
        Value::S(text) | Value::N(text) => text.clone(),
        Value::Bool(bool) => bool.to_string(),
        other => type_name(other).to_owned(),
    }
}

fn line<'a>(values: impl IntoIterator<Item = (&'a (impl AsRef<str> + ?Sized + 'a), &'a Value)>) -> String {
    let sorted: BTreeMap<String, String> =
        values.into_iter().map(|(name, value)| (name.as_ref().to_owned(), plain(value))).collect();
    sorted.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

fn render(effect: &Effect) -> String {
    let target = match &effect.target {
        Target::Row { key, .. } => line(key),
        Target::Found { index, key, .. } => format!("by {index} {}", line(key)),
        Target::Topic { .. } => "topic".to_owned(),
        Target::Shared { table } => table.to_string(),
    };
    match &effect.write {
        Write::Put { item, expect_row, .. } => {
            format!("put {target}: {}{}", line(item.iter()), if *expect_row { " (there)" } else { "" })
        }
        Write::Delete { .. } => format!("delete {target}"),
        Write::Patch { set, remove, reach } => {
            let mut remove: Vec<&str> = remove.iter().map(|name| &**name).collect();
            remove.sort_unstable();
            let take_over = if *reach == Reach::Others { " (take over)" } else { "" };
            format!("patch {target}: [{}] remove {remove:?}{take_over}", line(set))
        }
        Write::Drop { .. } => format!("drop {target}"),
        Write::Publish(publish) => format!("publish {}", publish.kind),
        Write::Fold(fold) => {
            let rows = |contribution: &Contribution| contribution.shares().iter().map(contributed).collect();
            let (before, mut after): (Vec<String>, Vec<String>) = (rows(&fold.guess), rows(&fold.after));
            for (row, item) in after.iter_mut().zip(&fold.items) {
                row.push_str(&format!(" [{}]", line(item.iter())));
            }
            assert!(fold.items.len() == items_of(fold));
            format!("fold {target}: {} -> {}", before.join(", "), after.join(", "))
        }
    }
}

/// What an item contributes to one row, without the attributes of a lookup row.
fn contributed(share: &Share) -> String {
    let Part::Totals(totals) = &share.part else { return line(&share.key) };
    let add = totals.add.iter().map(|(name, add)| format!("{name}+{add}"));
    let values = totals.values.iter().map(|(column, value)| format!("{column}={}", plain(value)));
    let parts: Vec<String> = add.chain(values).collect();
    format!("({}) {}", line(&share.key), parts.join(" "))
}

/// How many rows a fold has to bring along: one for each share that is a lookup row.
fn items_of(fold: &Fold) -> usize {
    fold.after.shares().iter().filter(|share| matches!(share.part, Part::Lookup { .. })).count()
}

#[track_caller]
fn check_change(settings: &str, change: &Change, expected: &[&str]) {
    let config = config(&format!("[projection.p]\nfrom = 'items'\n{settings}\n"));
    let found = match config.projections[0].build().project(change) {
        Ok(effects) => {
            for effect in effects.iter().filter(|_| !settings.contains("version =")) {
                assert_eq!(effect.guard, change.guard().unwrap());
            }
            effects.iter().map(render).collect()
        }
        Err(reject) => vec![format!("rejected: {reject}")],
    };
    assert_eq!(found, expected, "{settings}");
}

#[track_caller]
fn check(settings: &str, old: &Json, new: &Json, expected: &[&str]) {
    check_change(settings, &moved(old, new), expected);
}

const NONE: Json = Json::Null;
const REPLICA: &str = "kind = 'replica'\ntable = 'Rows'\nkey = { id = '{id}' }\nset = { a = '{a?}' }";
const WHERE: &str = "\nwhere = 'new.on'";

fn on(a: i64) -> Json {
    json!({"id": "1", "on": true, "a": a})
}

fn off(a: i64) -> Json {
    json!({"id": "1", "on": false, "a": a})
}

/// Insert, modify and remove, with `where` false or true before and after.
#[test]
fn membership_of_a_replica() {
    let settings = format!("{REPLICA}{WHERE}");
    let check = |old: &Json, new: &Json, expected: &[&str]| check(&settings, old, new, expected);
    check(&NONE, &on(1), &["put id=1: a=1 id=1"]);
    check(&NONE, &off(1), &[]);
    check(&on(1), &on(2), &["put id=1: a=2 id=1 (there)"]);
    check(&on(1), &off(2), &["delete id=1"]);
    check(&off(1), &on(2), &["put id=1: a=2 id=1"]);
    check(&off(1), &off(2), &[]);
    check(&on(1), &NONE, &["delete id=1"]);
    check(&off(1), &NONE, &[]);
}

#[test]
fn membership_of_an_emit() {
    let settings = format!("kind = 'emit'\ntopic = 'arn:aws:sns:eu-west-1:1:t'{WHERE}");
    let check = |old: &Json, new: &Json, expected: &[&str]| check(&settings, old, new, expected);
    check(&NONE, &on(1), &["publish INSERT"]);
    check(&NONE, &off(1), &[]);
    check(&on(1), &on(2), &["publish MODIFY"]);
    check(&on(1), &off(2), &["publish REMOVE"]);
    check(&off(1), &on(2), &["publish INSERT"]);
    check(&off(1), &off(2), &[]);
    check(&on(1), &NONE, &["publish REMOVE"]);
    check(&off(1), &NONE, &[]);
}

#[test]
fn membership_of_a_copy() {
    let copy =
        format!("kind = 'copy'\ntable = 'Rows'\nkey = {{ id = '{{id}}' }}\nset = {{ a = '{{a?}}' }}{WHERE}");
    let check = |on_delete: &str, old: &Json, new: &Json, expected: &[&str]| {
        check(&format!("{copy}\non_delete = '{on_delete}'"), old, new, expected);
    };
    for on_delete in ["clear", "keep", "delete"] {
        check(on_delete, &NONE, &on(1), &["patch id=1: [a=1] remove [] (take over)"]);
        check(on_delete, &on(1), &on(2), &["patch id=1: [a=2] remove [] (take over)"]);
        check(on_delete, &off(1), &on(2), &["patch id=1: [a=2] remove [] (take over)"]);
        check(on_delete, &NONE, &off(1), &[]);
        check(on_delete, &off(1), &off(2), &[]);
        check(on_delete, &off(1), &NONE, &[]);
    }
    for (old, new) in [(on(1), off(2)), (on(1), NONE)] {
        check("clear", &old, &new, &["patch id=1: [] remove [\"a\"]"]);
        check("keep", &old, &new, &[]);
        check("delete", &old, &new, &["drop id=1"]);
    }
}

#[test]
fn a_condition_on_what_changed_removes_rather_than_leaves() {
    // Whether the item belonged before cannot be told by a condition that reads `old` or the event.
    let settings = format!("{REPLICA}\nwhere = 'has(old.a) && old.a != new.a'");
    check(&settings, &on(1), &on(2), &["put id=1: a=2 id=1 (there)"]);
    check(&settings, &on(1), &json!({"id": "1", "on": false, "a": 1}), &["delete id=1"]);
    let expired = format!("{REPLICA}\nwhere = '!event.expired'");
    let mut removal = moved(&on(1), &NONE);
    removal.expired = true;
    check_change(&expired, &removal, &["delete id=1"]);
}

#[test]
fn a_condition_that_fails_on_the_old_image_removes_rather_than_leaves() {
    let settings = format!("{REPLICA}{WHERE}");
    let without = json!({"id": "1", "a": 1});
    check(&settings, &without, &off(1), &["delete id=1"]);
    check(&settings, &without, &NONE, &["delete id=1"]);
    check(
        &settings,
        &NONE,
        &without,
        &["rejected: where `new.on`: No such key: on; test with has() what may be missing"],
    );
}

#[test]
fn a_row_moves_with_its_key() {
    let keyed = "kind = 'replica'\ntable = 'Rows'\nkey = { w = '{w}', id = '{id}' }\nset = { a = '{a?}' }";
    let at = |w: &str, a: i64| json!({"id": "1", "w": w, "a": a});
    check(keyed, &at("x", 1), &at("x", 2), &["put id=1 w=x: a=2 id=1 w=x (there)"]);
    check(keyed, &at("x", 1), &at("y", 2), &["delete id=1 w=x", "put id=1 w=y: a=2 id=1 w=y"]);
    check(keyed, &at("x", 1), &NONE, &["delete id=1 w=x"]);
    check(&format!("{keyed}\non_delete = 'keep'"), &at("x", 1), &at("y", 2), &["put id=1 w=y: a=2 id=1 w=y"]);
    // The old item had no key here, so it had no row here.
    check(keyed, &json!({"id": "1"}), &at("y", 2), &["put id=1 w=y: a=2 id=1 w=y"]);
    check(
        keyed,
        &at("x", 1),
        &json!({"id": "1"}),
        &["rejected: the item has no attribute `w`; write `{w?}` where it may be missing"],
    );
}

#[test]
fn a_move_counts_whatever_changed_says() {
    let keyed = "kind = 'replica'\ntable = 'Rows'\nkey = { w = '{w}', id = '{id}' }\nchanged = ['a']\nset = { a = '{a}' }";
    let at = |w: &str, a: i64| json!({"id": "1", "w": w, "a": a, "z": w});
    check(keyed, &at("x", 1), &at("y", 1), &["delete id=1 w=x", "put id=1 w=y: a=1 id=1 w=y"]);
    let found = "kind = 'copy'\ntable = 'Rows'\nmatch = { index = 'by-w', key = { w = '{w}' } }\nchanged = ['a']\nset = { a = '{a}' }";
    check(
        found,
        &at("x", 1),
        &at("y", 1),
        &[
            "patch by by-w w=x: [] remove [\"a\"] (take over)",
            "patch by by-w w=y: [a=1] remove [] (take over)",
        ],
    );
}

#[test]
fn changed_lets_other_changes_pass() {
    let settings = format!("{REPLICA}\nchanged = ['a']");
    let item = |a: i64, b: i64| json!({"id": "1", "a": a, "b": b});
    check(&settings, &item(1, 1), &item(1, 2), &[]);
    check(&settings, &item(1, 1), &item(2, 1), &["put id=1: a=2 id=1 (there)"]);
    check(&settings, &item(1, 1), &json!({"id": "1"}), &["put id=1: id=1 (there)"]);
    check(&settings, &NONE, &item(1, 1), &["put id=1: a=1 id=1"]);
    check(&settings, &item(1, 1), &NONE, &["delete id=1"]);
}

#[test]
fn what_is_optional_is_left_out_of_a_row_and_removed_by_a_patch() {
    check(REPLICA, &NONE, &json!({"id": "1"}), &["put id=1: id=1"]);
    let copy = "kind = 'copy'\ntable = 'Rows'\nkey = { id = '{id}' }\nset = { a = '{a?}', t = 'A {a?}', b = true, n = 5 }";
    check(copy, &NONE, &json!({"id": "1"}), &["patch id=1: [b=true n=5] remove [\"a\", \"t\"] (take over)"]);
    check(copy, &NONE, &on(1), &["patch id=1: [a=1 b=true n=5 t=A 1] remove [] (take over)"]);
    let strict = "kind = 'copy'\ntable = 'Rows'\nkey = { id = '{id}' }\nset = { a = '{a}' }";
    check(
        strict,
        &NONE,
        &json!({"id": "1"}),
        &["rejected: the item has no attribute `a`; write `{a?}` where it may be missing"],
    );
}

#[test]
fn a_replica_without_set_keeps_the_whole_item_but_no_guards() {
    let whole = "kind = 'replica'\ntable = 'Rows'\nkey = { pk = 'ITEM#{id}' }";
    let new = json!({"id": "1", "a": 1, "ms:other": "guard", "ms:expires": 5});
    check(whole, &NONE, &new, &["put pk=ITEM#1: a=1 id=1 pk=ITEM#1"]);
}

#[test]
fn the_version_can_be_the_items_own() {
    let config = config(&format!("[projection.p]\nfrom = 'items'\n{REPLICA}\nversion = 'v'\n"));
    let guards = |old: &Json, new: &Json| -> Vec<String> {
        let effects = config.projections[0].build().project(&moved(old, new)).unwrap();
        effects.iter().map(|effect| effect.guard.version.to_string()).collect()
    };
    let (first, second) = (json!({"id": "1", "v": 1}), json!({"id": "1", "v": 2}));
    assert_eq!(guards(&first, &second), [format!("{:0>40}", 2)]);
    assert_eq!(guards(&second, &NONE), [format!("{:0>40}\u{1}removed", 2)]);
    check(
        &format!("{REPLICA}\nversion = 'v'"),
        &NONE,
        &on(1),
        &["rejected: the item has no attribute `v`, which holds its version"],
    );
}

#[test]
fn a_stream_without_images_is_told_apart_from_an_item_without_attributes() {
    let without = |mut change: Change, old: bool, new: bool| {
        if old {
            change.old = None;
        }
        if new {
            change.new = None;
        }
        change
    };
    let whole = |kind: ChangeKind| {
        let mut change = moved(&on(1), &on(2));
        change.kind = kind;
        change.keys = Image::from_item(crate::support::item(&json!({"id": "1"})));
        change
    };
    // No old image: what the key alone can tell still works.
    check_change(REPLICA, &without(whole(ChangeKind::Modify), true, false), &["put id=1: a=2 id=1 (there)"]);
    check_change(REPLICA, &without(whole(ChangeKind::Remove), true, true), &["delete id=1"]);
    let keyed = "kind = 'replica'\ntable = 'Rows'\nkey = { a = '{a}' }\nset = { b = '{b?}' }";
    check_change(
        keyed,
        &without(whole(ChangeKind::Remove), true, true),
        &["rejected: the stream carries no old image, so the row's former key is unknown: \
         the item has no attribute `a`; write `{a?}` where it may be missing"],
    );
    check_change(
        REPLICA,
        &without(whole(ChangeKind::Modify), false, true),
        &["rejected: the stream carries no new image: a replica needs NEW_AND_OLD_IMAGES or NEW_IMAGE"],
    );
}
