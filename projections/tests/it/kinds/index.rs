//! Which lookup rows an item has, before a change and after it.

use std::collections::HashMap;

use millstream_projections::effect::Write;
use millstream_projections::fold::{Rules, attributes_digest};
use millstream_projections::item::Value;
use serde_json::json;

use super::*;

const BY_VAT: &str = "kind = 'index'\ntable = 'ByVat'\nkey = { vat = '{vat?}' }";
const BY_TAG: &str =
    "kind = 'index'\ntable = 'ByTag'\nkey = { tag = '{ms:each}', id = '{id}' }\neach = '{tags?}'";

fn tagged(tags: Json) -> Json {
    json!({"id": "1", "name": "N", "tags": tags})
}

#[test]
fn a_row_comes_moves_and_goes_with_its_item() {
    let company = |vat: &str, name: &str| json!({"id": "1", "vat": vat, "name": name});
    let check = |old: &Json, new: &Json, expected: &[&str]| check(BY_VAT, old, new, expected);
    check(&NONE, &company("A", "x"), &["fold ByVat:  -> vat=A [id=1]"]);
    check(&company("A", "x"), &company("A", "y"), &["fold ByVat: vat=A -> vat=A [id=1]"]);
    check(&company("A", "x"), &company("B", "x"), &["fold ByVat: vat=A -> vat=B [id=1]"]);
    check(&company("A", "x"), &NONE, &["fold ByVat: vat=A -> "]);
    let without = json!({"id": "1"});
    check(&company("A", "x"), &without, &["fold ByVat: vat=A -> "]);
    check(&without, &company("A", "x"), &["fold ByVat:  -> vat=A [id=1]"]);
    check(&NONE, &without, &["fold ByVat:  -> "]);
}

#[test]
fn set_says_what_a_row_holds() {
    let settings =
        format!("{BY_VAT}\nset = {{ company = '{{id}}', name = '{{name?}}', kind = 'C', vat = '{{vat?}}' }}");
    let item = json!({"id": "1", "vat": "A", "name": "x"});
    check(&settings, &NONE, &item, &["fold ByVat:  -> vat=A [company=1 kind=C name=x]"]);
    check(&settings, &NONE, &json!({"id": "1", "vat": "A"}), &["fold ByVat:  -> vat=A [company=1 kind=C]"]);
}

#[test]
fn every_element_has_a_row() {
    let check = |old: &Json, new: &Json, expected: &[&str]| check(BY_TAG, old, new, expected);
    check(&NONE, &tagged(json!(["b", "a"])), &["fold ByTag:  -> id=1 tag=a [], id=1 tag=b []"]);
    check(&NONE, &tagged(json!(["a", "a", "a"])), &["fold ByTag:  -> id=1 tag=a []"]);
    check(&NONE, &tagged(json!([])), &["fold ByTag:  -> "]);
    check(&NONE, &json!({"id": "1"}), &["fold ByTag:  -> "]);
    check(
        &tagged(json!(["a", "b"])),
        &tagged(json!(["b", "c"])),
        &["fold ByTag: id=1 tag=a, id=1 tag=b -> id=1 tag=b [], id=1 tag=c []"],
    );
    check(&tagged(json!(["a", 1])), &NONE, &["fold ByTag: id=1 tag=1, id=1 tag=a -> "]);
}

#[test]
fn sets_have_elements_too() {
    let rows = |tags: Value| {
        let item = HashMap::from([("id".to_owned(), Value::S("1".to_owned())), ("tags".to_owned(), tags)]);
        let mut change = moved(&NONE, &json!({"id": "1"}));
        change.new = Some(Image::from_item(item.into()));
        let config = config(&format!("[projection.p]\nfrom = 'items'\n{BY_TAG}\n"));
        config.projections[0].build().project(&change).unwrap().iter().map(render).collect::<Vec<_>>()
    };
    let texts = || ["b".to_owned(), "a".to_owned()].to_vec();
    assert_eq!(rows(Value::Ss(texts())), ["fold ByTag:  -> id=1 tag=a [], id=1 tag=b []"]);
    let numbers = ["1.0".to_owned(), "1".to_owned()].to_vec();
    assert_eq!(rows(Value::Ns(numbers)), ["fold ByTag:  -> id=1 tag=1 []"]);
    assert_eq!(
        rows(Value::Bs([vec![1], vec![2]].to_vec())),
        ["fold ByTag:  -> id=1 tag=B [], id=1 tag=B []"]
    );
}

#[test]
fn elements_may_be_maps() {
    let settings = "kind = 'index'\ntable = 'BySku'\nkey = { sku = '{ms:each.sku?}', id = 'O#{id}' }\n\
                    set = { qty = '{ms:each.qty}', name = '{name}' }\neach = '{lines}'";
    let lines = |lines: Json| json!({"id": "1", "name": "N", "lines": lines});
    let line = |sku: &str, qty: i64| json!({"sku": sku, "qty": qty});
    check(
        settings,
        &NONE,
        &lines(json!([line("y", 2), line("x", 1), {"qty": 5}, line("x", 1)])),
        &["fold BySku:  -> id=O#1 sku=x [name=N qty=1], id=O#1 sku=y [name=N qty=2]"],
    );
    check(
        settings,
        &NONE,
        &lines(json!([line("x", 1), line("x", 2)])),
        &[
            "rejected: two elements of `lines` ask for the same row, with the same `id`, `sku` and different attributes; \
           let the key tell them apart",
        ],
    );
    check(
        settings,
        &NONE,
        &lines(json!([{"sku": "x"}])),
        &[
            "rejected: the item has no attribute `ms:each.qty`; write `{ms:each.qty?}` where it may be missing",
        ],
    );
}

#[test]
fn what_is_no_row() {
    let rejected = |settings: &str, item: Json, expected: &str| {
        check(settings, &NONE, &item, &[&format!("rejected: {expected}")]);
    };
    let vat = |vat: Json| json!({"id": "1", "vat": vat});
    rejected(BY_VAT, vat(json!("")), "`key.vat` = `{vat?}` is empty, which no key can be");
    rejected(BY_VAT, vat(json!(null)), "`key.vat` = `{vat?}` is of type NULL: a key holds S, N and B only");
    rejected(BY_TAG, tagged(json!(["a", ""])), "`key.tag` = `{ms:each}` is empty, which no key can be");
    rejected(
        BY_TAG,
        tagged(json!([["a"]])),
        "`key.tag` = `{ms:each}` is of type L: a key holds S, N and B only",
    );
    rejected(BY_TAG, tagged(json!("a")), "`each` = `tags` is of type S: only a list or a set has elements");
    rejected(
        BY_TAG,
        tagged(json!({"a": 1})),
        "`each` = `tags` is of type M: only a list or a set has elements",
    );
    let always = BY_TAG.replace("{tags?}", "{tags}");
    rejected(
        &always,
        json!({"id": "1"}),
        "the item has no attribute `tags`; write `{tags?}` where it may be missing",
    );
    // What the item had before is taken back, whatever became of it then.
    check(BY_TAG, &tagged(json!("a")), &tagged(json!(["b"])), &["fold ByTag:  -> id=1 tag=b []"]);
}

#[test]
fn a_row_has_to_lead_to_its_item() {
    let settings = "kind = 'index'\ntable = 'ByVat'\nkey = { id = '{vat}' }";
    let config = config(&format!("[projection.p]\nfrom = 'items'\n{settings}\n"));
    let reject =
        config.projections[0].build().project(&moved(&NONE, &json!({"id": "1", "vat": "A"}))).unwrap_err();
    assert!(reject.is_deployment());
    assert_eq!(
        reject.to_string(),
        "the source's own key has an attribute `id` too, which the row could not hold beside `key.id`; \
         rename that, or say in `set` what the row holds"
    );
    check(
        &format!("{settings}\nset = {{ company = '{{id}}' }}"),
        &NONE,
        &json!({"id": "1", "vat": "A"}),
        &["fold ByVat:  -> id=A [company=1]"],
    );
}

#[test]
fn only_members_have_rows() {
    let settings = format!("{BY_VAT}{WHERE}");
    let item = |on: bool| json!({"id": "1", "vat": "A", "on": on});
    check(&settings, &NONE, &item(false), &[]);
    check(&settings, &item(true), &item(false), &["fold ByVat: vat=A -> "]);
    check(&settings, &item(false), &item(true), &["fold ByVat:  -> vat=A [id=1]"]);
    check(&settings, &item(true), &NONE, &["fold ByVat: vat=A -> "]);
}

#[test]
fn all_that_is_read_counts_as_changed() {
    let settings = format!("{BY_TAG}\nset = {{ name = '{{name}}' }}\nchanged = ['x']");
    let with =
        |name: &str, tag: &str, other: i64| json!({"id": "1", "name": name, "tags": [tag], "other": other});
    check(&settings, &with("N", "a", 1), &with("N", "a", 2), &[]);
    check(
        &settings,
        &with("N", "a", 1),
        &with("M", "a", 1),
        &["fold ByTag: id=1 tag=a -> id=1 tag=a [name=M]"],
    );
    check(
        &settings,
        &with("N", "a", 1),
        &with("N", "b", 1),
        &["fold ByTag: id=1 tag=a -> id=1 tag=b [name=N]"],
    );
}

#[test]
fn the_digest_is_that_of_the_other_attributes() {
    let settings = format!("{BY_VAT}\nset = {{ all = '{{all}}' }}\nunique = false");
    let item = json!({"id": "1", "vat": "A", "all": {"b": [1, 2.50], "a": {"x": null, "y": true}}});
    let config = config(&format!("[projection.p]\nfrom = 'items'\n{settings}\n"));
    let effects = config.projections[0].build().project(&moved(&item, &item)).unwrap();
    let Write::Fold(fold) = &effects[0].write else { panic!("{effects:?}") };
    assert_eq!(fold.guess, fold.after);
    assert_eq!(*fold.rules, Rules::Lookup { unique: false });
    let Part::Lookup { digest } = &fold.after.shares()[0].part else { panic!("{fold:?}") };
    assert_eq!(*digest, attributes_digest(&fold.items[0]));
}
