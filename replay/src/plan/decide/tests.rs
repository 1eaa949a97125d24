//! Every write against every row that it can meet.

use std::collections::HashMap;
use std::sync::Arc;

use millstream_projections::effect::Target;
use millstream_projections::{Item, KeyDigest, Version};

use super::*;

const OWN: &str = "ms:p";

fn effect(write: Write) -> Effect {
    let guard = Guard { digest: KeyDigest::of_bytes(b"ours"), version: Version::from_text("5") };
    Effect { target: Target::Topic { topic: "t".into() }, guard, write }
}

fn guard(digest: &[u8], version: &str) -> Value {
    let guard = Guard { digest: KeyDigest::of_bytes(digest), version: Version::from_text(version) };
    Value::S(guard.to_string())
}

fn row(guard: Option<Value>) -> Option<Row> {
    let mut row = Row::from([("a".to_owned(), Value::S("old".to_owned()))]);
    row.extend(guard.map(|guard| (OWN.to_owned(), guard)));
    Some(row)
}

/// No row, no guard, own older, own same, own newer, another's.
fn rows() -> [Option<Row>; 6] {
    let (older, same, newer) = (guard(b"ours", "4"), guard(b"ours", "5"), guard(b"ours", "6"));
    [None, row(None), row(Some(older)), row(Some(same)), row(Some(newer)), row(Some(guard(b"theirs", "9")))]
}

/// `w`: would write, `t`: stale, `s`: superseded.
#[track_caller]
fn check(write: Write, found_by: Option<&Key>, tombstone: Option<&str>, expected: &str) {
    check_with(write, found_by, Memory { tombstone, fades: false }, expected);
}

/// `o`: too old.
#[track_caller]
fn check_with(write: Write, found_by: Option<&Key>, memory: Memory<'_>, expected: &str) {
    let name = ProjectionName::new("p").unwrap();
    let effect = effect(write);
    let letters: String = rows()
        .iter()
        .map(|row| match decide(&effect, &name, found_by, row.as_ref(), memory).verdict {
            Verdict::WouldWrite => 'w',
            Verdict::Stale => 't',
            Verdict::Superseded => 's',
            Verdict::TooOld => 'o',
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(letters, expected, "{effect:?}");
}

#[test]
fn each_write_meets_each_row_as_the_sink_does() {
    let put = |tombstones| Write::Put { item: Item::default(), tombstones, expect_row: true };
    let patch: fn(Reach) -> Write = |reach| Write::Patch { set: HashMap::new(), remove: Vec::new(), reach };
    let drop: fn(Reach) -> Write = |reach| Write::Drop { reach };
    let delete = |tombstones| Write::Delete { tombstones };
    let by: Key = [(Arc::from("a"), Value::S("old".to_owned()))].into();
    let moved: Key = [(Arc::from("a"), Value::S("new".to_owned()))].into();
    check(put(Tombstones::Ledger), None, None, "wwwtsw");
    check(put(Tombstones::Ledger), None, Some("4"), "wwwtsw");
    check(put(Tombstones::Ledger), None, Some("6"), "swwtss");
    check(put(Tombstones::Inline), None, Some("6"), "wwwtsw");
    check(put(Tombstones::Never), None, None, "wwwtsw");
    check(delete(Tombstones::Ledger), None, None, "wwwtst");
    check(delete(Tombstones::Ledger), None, Some("5"), "ssstss");
    check(delete(Tombstones::Inline), None, None, "wwwtst");
    check(delete(Tombstones::Never), None, None, "ttttst");
    for write in [patch, drop] {
        check(write(Reach::Own), None, None, "ttwtst");
        check(write(Reach::Unguarded), None, None, "twwtst");
        check(write(Reach::Others), None, None, "twwtsw");
        check(write(Reach::Others), Some(&by), None, "twwtsw");
        check(write(Reach::Others), Some(&moved), None, "ttttst");
    }
}

#[test]
fn a_patch_shows_the_row_as_it_would_be() {
    let set = HashMap::from([(Arc::from("b"), Value::S("new".to_owned()))]);
    let patch = Write::Patch { set, remove: vec!["a".into()], reach: Reach::Unguarded };
    let name = ProjectionName::new("p").unwrap();
    let decided =
        decide(&effect(patch), &name, None, row(None).as_ref(), Memory { tombstone: None, fades: false });
    assert_eq!(decided.after, Some(Row::from([("b".to_owned(), Value::S("new".to_owned()))])));
}

#[test]
fn what_may_have_been_removed_since_is_not_put_where_no_row_of_its_own_stands() {
    let put = |tombstones| Write::Put { item: Item::default(), tombstones, expect_row: true };
    let old = |tombstone| Memory { tombstone, fades: true };
    check_with(put(Tombstones::Ledger), None, old(None), "owwtso");
    check_with(put(Tombstones::Ledger), None, old(Some("4")), "owwtso");
    // Where the ledger still knows, there is no doubt.
    check_with(put(Tombstones::Ledger), None, old(Some("6")), "swwtss");
    check_with(put(Tombstones::Inline), None, old(None), "owwtso");
    check_with(put(Tombstones::Never), None, old(None), "wwwtsw");
    check_with(Write::Delete { tombstones: Tombstones::Ledger }, None, old(None), "wwwtst");
}
