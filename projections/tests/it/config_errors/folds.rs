//! What is said of an `aggregate` or an `index` that is wrong.

use super::{check, check_projection};

const TOTALS: &str = "kind = 'aggregate'\nfrom = 'a'\ntable = 'Rows'";
const INDEX: &str = "kind = 'index'\nfrom = 'a'\ntable = 'Rows'";

/// An aggregate that counts, with more lines from line 9.
fn totals(lines: &str) -> String {
    format!("{TOTALS}\ngroup = {{ c = '{{c}}' }}\ncount = 'n'\n{lines}")
}

/// An index by `v`, with more lines from line 8.
fn index(lines: &str) -> String {
    format!("{INDEX}\nkey = {{ v = '{{v}}' }}\n{lines}")
}

#[test]
fn what_is_missing() {
    check_projection(
        "kind = 'aggregate'\nfrom = 'a'",
        &[
            (3, "table: is missing; name the table to write to"),
            (
                3,
                "group: is missing; say which items belong together: group = { customerId = \"{customerId}\" }",
            ),
            (
                3,
                "keeps no totals; give it at least one of `count`, `sum`, `avg`, `min`, `max` and `distinct`",
            ),
        ],
    );
    check_projection(
        "kind = 'index'\nfrom = 'a'",
        &[
            (3, "table: is missing; name the table to write to"),
            (3, "key: is missing; say how a row is found: key = { id = \"{id}\" }"),
        ],
    );
    check_projection(&totals(""), &[]);
    check_projection(&index(""), &[]);
}

#[test]
fn groups() {
    let grouped = |group: &str| format!("{TOTALS}\ngroup = {group}\ncount = 'n'");
    check_projection(&grouped("{}"), &[(7, "group: has 0 attributes; a key has 1 to 2")]);
    check_projection(
        &grouped("{ a = '{a?}', b = true }"),
        &[
            (7, "group.a: a key attribute cannot be optional; leave the `?` out"),
            (7, "group.b: a key attribute cannot be true or false; use text or a number"),
        ],
    );
    check_projection(
        &grouped("{ a = '{a}#{ms:shard}' }"),
        &[(7, "group.a: `{ms:shard}` needs `shards`; write shards = 8, or leave it out")],
    );
    check_projection(
        &grouped("{ a = '{ms:each}', b = '{ms:p}' }"),
        &[
            (
                7,
                "group.a: `{ms:each}` is for `key` and `set` of an index with `each`; name an attribute of the item",
            ),
            (
                7,
                "group.b: `{ms:p}` reads one of Millstream's own attributes, which start with `ms:`; name an attribute of the item",
            ),
        ],
    );
}

#[test]
fn shards() {
    let sharded = |group: &str, lines: &str| format!("{TOTALS}\ngroup = {{ a = '{group}' }}\n{lines}");
    check_projection(&sharded("{a}-{ms:shard}", "count = 'n'\nshards = 100"), &[]);
    check_projection(&sharded("{a}", "count = 'n'\nshards = 1"), &[]);
    check_projection(
        &sharded("{a}", "count = 'n'\nshards = 4"),
        &[(
            7,
            "group: does not use `{ms:shard}`, so the 4 shards would be one row; \
             make it part of the key: group = { customerId = \"{customerId}#{ms:shard}\" }",
        )],
    );
    check_projection(
        &sharded("{a}-{ms:shard.x}", "count = 'n'\nshards = 4"),
        &[(7, "group.a: `{ms:shard.x}` goes into a number; write {ms:shard}")],
    );
    check_projection(
        &sharded("{a}-{ms:shard}", "distinct = { d = '{d}' }\nshards = 4"),
        &[(
            8,
            "distinct: cannot be added up over shards: a value may be in several of them; \
             leave `shards` out, or count them in an aggregate of their own",
        )],
    );
    for (shards, what) in
        [("0", "0 is out of range"), ("101", "101 is out of range"), ("-1", "-1 is out of range")]
    {
        check_projection(
            &totals(&format!("shards = {shards}")),
            &[(9, &format!("shards: {what}; use 1 to 100"))],
        );
    }
    check_projection(
        &totals("shards = 'many'"),
        &[(9, "shards: is of type string \"many\"; use a whole number")],
    );
}

#[test]
fn what_is_kept() {
    check_projection(
        &totals("sum = { a = '{a} EUR', b = true, c2 = 'x', d = 5, e = '{e.f[0]?}' }"),
        &[
            (9, "sum.a: is no number and cannot be added up; use one path alone, \"{total}\", or a number"),
            (9, "sum.b: is no number and cannot be added up; use one path alone, \"{total}\", or a number"),
            (9, "sum.c2: is no number and cannot be added up; use one path alone, \"{total}\", or a number"),
        ],
    );
    check_projection(
        &totals("avg = { a = '#{a}' }\nmin = { b = 5 }\nmax = { m = '{x}-{y?}' }\ndistinct = {}"),
        &[
            (9, "avg.a: is no number and cannot be added up; use one path alone, \"{total}\", or a number"),
            (10, "min.b: is the same for every item; use \"{path}\""),
            (12, "distinct: is empty; leave it out"),
        ],
    );
    check_projection(
        &totals("sum = { s = '{ms:shard}' }\nmin = { m = '{ms:each}' }"),
        &[
            (
                9,
                "sum.s: `{ms:shard}` is for the `group` of an aggregate with `shards`; name an attribute of the item",
            ),
            (
                10,
                "min.m: `{ms:each}` is for `key` and `set` of an index with `each`; name an attribute of the item",
            ),
        ],
    );
    check_projection(
        &format!("{TOTALS}\ngroup = {{ c = '{{c}}' }}\ncount = ''"),
        &[(8, "count: is an empty name; name a top-level attribute")],
    );
    check_projection(
        &format!("{TOTALS}\ngroup = {{ c = '{{c}}' }}\nsum = {{ s = 1 }}\non_empty = 'delete'"),
        &[(
            9,
            "on_empty: a row is deleted when it counts no items, and it does not count them; add count = \"…\"",
        )],
    );
    check_projection(
        &totals("on_empty = 'drop'"),
        &[(9, "on_empty: `drop` is not a choice; known are `keep`, `delete`")],
    );
}

#[test]
fn an_attribute_is_kept_once() {
    check_projection(
        &totals("sum = { n = '{a}', s = '{s}', 'ms:x' = 1 }\nmin = { s = '{s}', c = '{c}' }"),
        &[
            (
                9,
                "sum.ms:x: `ms:x` is reserved: attributes that start with `ms:` are Millstream's guards; choose another name",
            ),
            (10, "min.c: `c` is what `group.c` keeps already; choose another name"),
        ],
    );
    check_projection(
        &totals(
            "sum = { n = '{a}', s = '{s}', p_count = '{p}' }\navg = { p = '{p}' }\nmin = { s = '{s}', c = '{c}' }\nmax = { p = '{p}' }",
        ),
        &[
            (9, "sum.n: `n` is what `count` keeps already; choose another name"),
            (10, "avg.p: `p_count` is what `sum.p_count` keeps already; choose another name"),
            (11, "min.s: `s` is what `sum.s` keeps already; choose another name"),
            (11, "min.c: `c` is what `group.c` keeps already; choose another name"),
            (12, "max.p: `p` is what `avg.p` keeps already; choose another name"),
        ],
    );
}

#[test]
fn a_totals_row_is_no_larger_than_dynamodb_changes_at_once() {
    let many = |count: usize, of: &str| -> String {
        (0..count).map(|place| format!("{of}{place} = '{{{of}{place}}}'")).collect::<Vec<_>>().join(", ")
    };
    // The count is one of them.
    let sums = |count: usize| totals(&format!("sum = {{ {} }}\navg = {{ p = '{{p}}' }}", many(count, "s")));
    check_projection(&sums(97), &[]);
    check_projection(
        &sums(98),
        &[(
            3,
            "keeps 101 attributes: 100 are possible, an `avg` is two; keep the others by another aggregate",
        )],
    );
    let values = |count: usize| {
        let min = many(count, "v");
        totals(&format!("min = {{ {min} }}\nmax = {{ greatest = '{{v0}}' }}\ndistinct = {{ d = '{{d}}' }}"))
    };
    check_projection(&values(44), &[]);
    check_projection(
        &values(45),
        &[(
            3,
            "`min`, `max` and `distinct` have 46 different templates: 45 are possible; keep the others by another aggregate",
        )],
    );
}

#[test]
fn an_index_takes_over_no_rows_of_another() {
    let two = |first: &str, second: &str, key: &str| {
        format!(
            "[source.a]\ntable = 'Table'\n[projection.p]\n{INDEX}\nkey = {{ v = 'V#{{v}}' }}\n{first}\n[projection.q]\n{INDEX}\nkey = {{ v = '{key}' }}\n{second}\n"
        )
    };
    let error = "m.toml:9: [projection.q] may ask for the same rows as `p`, and one would take over the other's; \
                 use another table, begin the keys with different text, or leave `unique = false` out of both";
    check(&two("", "", "{w}"), &[]);
    check(&two("unique = false", "unique = false", "W#{w}"), &[]);
    for (first, second) in
        [("unique = false", ""), ("", "unique = false"), ("unique = false", "unique = false")]
    {
        check(&two(first, second, "{w}"), &[error]);
    }
}

#[test]
fn lookups() {
    check_projection(&index("set = {}"), &[(8, "set: is empty; leave it out to keep the source item's key")]);
    check_projection(
        &index("set = { v = '{w}', 'ms:p' = 1 }"),
        &[(
            8,
            "set.ms:p: `ms:p` is reserved: attributes that start with `ms:` are Millstream's guards; choose another name",
        )],
    );
    check_projection(
        &index("set = { v = '{w}' }\nunique = 'yes'"),
        &[
            (
                8,
                "set.v: says something else than `key.v`; leave it out: the attributes of the key are part of the row anyway",
            ),
            (9, "unique: is of type string \"yes\"; use true or false"),
        ],
    );
    check_projection(
        &format!("{INDEX}\nkey = {{ v = '{{ms:each}}', w = false }}\nset = {{ x = '{{ms:each.y}}' }}"),
        &[
            (7, "key.v: `{ms:each}` needs `each`; write each = \"{tags?}\", or leave it out"),
            (7, "key.w: a key attribute cannot be true or false; use text or a number"),
            (8, "set.x: `{ms:each.y}` needs `each`; write each = \"{tags?}\", or leave it out"),
        ],
    );
}

#[test]
fn each() {
    check_projection(
        &index("each = '{tags?}'"),
        &[(
            8,
            "each: `key` does not use `{ms:each}`, so all elements would share one row; write key = { tag = \"{ms:each}\" }",
        )],
    );
    let each = |each: &str| format!("{INDEX}\nkey = {{ v = '{{ms:each}}' }}\neach = {each}");
    check_projection(&each("'{tags?}'"), &[]);
    check_projection(
        &each("'x{tags}'"),
        &[(8, "each: `x{tags}` is not a path alone; write it like \"{tags?}\"")],
    );
    check_projection(&each("'tags'"), &[(8, "each: `tags` is not a path alone; write it like \"{tags?}\"")]);
    check_projection(
        &each("'{a..b}'"),
        &[(
            8,
            "each: `a..b` is not an attribute path: a name is missing; write a path like {name}, {customer.name} or {lines[0].sku}",
        )],
    );
    check_projection(
        &each("'{ms:each}'"),
        &[(
            8,
            "each: `{ms:each}` is for `key` and `set` of an index with `each`; name an attribute of the item",
        )],
    );
    check_projection(&each("['a']"), &[(8, "each: is of type sequence; use text in quotes")]);
}

#[test]
fn what_is_millstreams_own_is_read_nowhere_else() {
    check_projection(
        "kind = 'replica'\nfrom = 'a'\ntable = 'Rows'\nkey = { id = '{ms:shard}' }\nset = { b = 'x{ms:each}', c = '{ms:p?}' }",
        &[
            (
                7,
                "key.id: `{ms:shard}` is for the `group` of an aggregate with `shards`; name an attribute of the item",
            ),
            (
                8,
                "set.b: `{ms:each}` is for `key` and `set` of an index with `each`; name an attribute of the item",
            ),
            (
                8,
                "set.c: `{ms:p}` reads one of Millstream's own attributes, which start with `ms:`; name an attribute of the item",
            ),
        ],
    );
}

#[test]
fn keys_of_other_kinds() {
    check_projection(
        &totals("key = { id = '{id}' }\nunique = true"),
        &[
            (
                9,
                "key: is not a known key; known are `kind`, `from`, `where`, `changed`, `version`, `table`, `group`, \
                 `count`, `sum`, `avg`, `min`, `max`, `distinct`, `on_empty`, `shards`",
            ),
            (
                10,
                "unique: is not a known key; known are `kind`, `from`, `where`, `changed`, `version`, `table`, `group`, \
                 `count`, `sum`, `avg`, `min`, `max`, `distinct`, `on_empty`, `shards`",
            ),
        ],
    );
}

#[test]
fn images_that_the_stream_lacks() {
    for projection in [totals(""), index("")] {
        let text = |view: &str| {
            format!("[source.a]\ntable = 'Table'\nstream_view = '{view}'\n[projection.p]\n{projection}\n")
        };
        for view in ["KEYS_ONLY", "OLD_IMAGE"] {
            let what = format!(
                "m.toml:4: [projection.p] kind: needs the item after a change, but stream_view = \"{view}\" of source `a`; \
                 give the table's stream NEW_AND_OLD_IMAGES"
            );
            check(&text(view), &[&what]);
        }
        // What the item was before is in the ledger.
        check(&text("NEW_IMAGE").replace("'{c}'", "'{c.d}'").replace("'{v}'", "'{v.w}'"), &[]);
    }
}
