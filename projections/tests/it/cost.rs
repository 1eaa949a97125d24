//! What a projection costs to write.

use millstream_projections::config::cost::cost;

use crate::support::config;

const REPLICA: &str = "kind = 'replica'\ntable = 'Rows'\nkey = { id = '{id}' }";
const COPY: &str = "kind = 'copy'\ntable = 'Rows'\nset = { a = '{a}' }";

/// Insert, modify, move and remove.
#[track_caller]
fn check(settings: &str, expected: [&str; 4]) {
    let config = config(&format!("[projection.p]\nfrom = 'items'\n{settings}\n"));
    let cost = cost(&config.projections[0]);
    let moved = cost.moved.map_or_else(|| "none".to_owned(), |units| units.to_string());
    let found = [cost.insert.to_string(), cost.modify.to_string(), moved, cost.remove.to_string()];
    assert_eq!(found, expected, "{settings}");
}

#[test]
fn each_kind_and_choice() {
    check(REPLICA, ["2 × row + 2", "1 × row", "4 × row + 4", "2 × row + 2"]);
    check(&format!("{REPLICA}\ntombstones = 'inline'"), ["1 × row", "1 × row", "2 × row", "1 × row"]);
    check(&format!("{REPLICA}\non_delete = 'keep'"), ["1 × row", "1 × row", "1 × row", "0"]);
    check(&format!("{COPY}\nkey = {{ id = '{{id}}' }}"), ["1 × row", "1 × row", "2 × row", "1 × row"]);
    check(
        &format!("{COPY}\nkey = {{ id = '{{id}}' }}\non_delete = 'keep'"),
        ["1 × row", "1 × row", "1 × row", "0"],
    );
    let emit = "kind = 'emit'\ntopic = 'arn:aws:sns:eu-west-1:1:t'";
    check(emit, ["0 (1/10 publish)", "0 (1/10 publish)", "none", "0 (1/10 publish)"]);
}

#[test]
fn folds_share_their_totals() {
    let totals = "kind = 'aggregate'\ntable = 'Rows'\ngroup = { c = '{c}' }\ncount = 'n'";
    check(totals, ["2 × totals + 2", "2 × totals + 2", "4 × totals + 2", "2 × totals + 2"]);
    // Two columns, for three attributes: what is read twice is kept once.
    let values =
        format!("{totals}\nmin = {{ lo = '{{v}}' }}\nmax = {{ hi = '{{v}}' }}\ndistinct = {{ w = '{{w}}' }}");
    check(&values, ["2 × totals + 6", "2 × totals + 10", "4 × totals + 10", "2 × totals + 6"]);
    let index = "kind = 'index'\ntable = 'Rows'\nkey = { v = '{v}' }";
    check(index, ["2 × row + 2", "2 × row + 2", "4 × row + 2", "2 × row + 2"]);
    let config = config(&format!("[projection.p]\nfrom = 'items'\n{values}\n"));
    assert_eq!(cost(&config.projections[0]).insert.of_row(3), 12);
}

#[test]
fn rows_are_counted_in_whole_kilobytes() {
    let config = config(&format!("[projection.p]\nfrom = 'items'\n{REPLICA}\n"));
    assert_eq!(cost(&config.projections[0]).insert.of_row(3), 8);
    assert_eq!(cost(&config.projections[0]).modify.of_row(3), 3);
}
