//! What is said of a config that is wrong: the whole of it, line by line.

mod folds;

use millstream_projections::config::Config;

/// Every error of the text, in full.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let found = match Config::parse("m.toml", text, &|_| None) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(found, expected, "{text}");
}

/// As `check`, for the lines of a `[projection.p]`, which follow line 3; only the words after the section.
#[track_caller]
fn check_projection(lines: &str, expected: &[(usize, &str)]) {
    let text = format!("[source.a]\ntable = 'Table'\n[projection.p]\n{lines}\n");
    let expected: Vec<String> =
        expected.iter().map(|(line, what)| format!("m.toml:{line}: [projection.p] {what}")).collect();
    check(&text, &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

/// As `check`, for other sections beside a source and a projection that are right; the first line is line 7.
#[track_caller]
fn check_rest(lines: &str, expected: &[&str]) {
    let text = format!(
        "[source.a]\ntable = 'Table'\n[projection.p]\nkind = 'emit'\nfrom = 'a'\ntopic = 'arn:aws:sns:r:1:t'\n{lines}"
    );
    check(&text, expected);
}

const REPLICA: &str = "kind = 'replica'\nfrom = 'a'\ntable = 'Rows'\nkey = { id = '{id}' }";
const COPY: &str = "kind = 'copy'\nfrom = 'a'\ntable = 'Rows'";
const EMIT: &str = "kind = 'emit'\nfrom = 'a'\ntopic = 'arn:aws:sns:r:1:t'";

#[test]
fn what_is_no_toml() {
    check(
        "a = = 1\n[source\n",
        &[
            "m.toml:1: is not TOML: extra `=`, expected nothing",
            "m.toml:1: is not TOML: unexpected key or value, expected newline, `#`",
            "m.toml:2: is not TOML: unclosed table, expected `]`",
        ],
    );
    check_rest("[state]\n[state]\n", &["m.toml:8: is not TOML: duplicate key"]);
}

#[test]
fn what_is_not_there_at_all() {
    check(
        "",
        &[
            "m.toml:1: source: there is none; write [source.<name>]",
            "m.toml:1: projection: there is none; write [projection.<name>]",
        ],
    );
    check(
        "source = 1\n[projection]\np = 2\n",
        &[
            "m.toml:1: source: is not a section; write [source.<name>]",
            "m.toml:3: [projection] p: is not a section of its own; write [projection.<name>]",
        ],
    );
}

#[test]
fn unknown_keys() {
    check_rest(
        "[piepline]\n[x]\n[state]\nprefx = 'a'\n[letters]\nfoo = 1\n",
        &[
            "m.toml:7: piepline: is not a known key; did you mean `pipeline`?",
            "m.toml:8: x: is not a known key; known are `source`, `state`, `letters`, `pipeline`, `poller`, `projection`",
            "m.toml:10: [state] prefx: is not a known key; did you mean `prefix`?",
            "m.toml:12: [letters] foo: is not a known key; known are `store`, `keep`",
        ],
    );
    check_projection(
        &format!("{EMIT}\nset = {{ a = 1 }}\ninclud = ['a']"),
        &[
            (
                7,
                "set: is not a known key; known are `kind`, `from`, `where`, `changed`, `version`, `topic`, `include`",
            ),
            (8, "includ: is not a known key; did you mean `include`?"),
        ],
    );
    check(
        "[source.a]\ntbale = 'Table'\n[projection.p]\nkind = 'emit'\nfrom = 'a'\ntopic = 'arn:aws:sns:r:1:t'\n",
        &[
            "m.toml:1: [source.a] names no `table`, `queue` or `topic`; give exactly one of them",
            "m.toml:2: [source.a] tbale: is not a known key; did you mean `table`?",
        ],
    );
}

#[test]
fn the_nearest_of_several_is_meant() {
    check(
        "[source.company]\ntable = 'Table'\n[source.companies]\ntable = 'Other'\n\
         [projection.p]\nkind = 'emit'\nfrom = 'companie'\ntopic = 'arn:aws:sns:r:1:t'\n",
        &["m.toml:7: [projection.p] from: there is no source `companie`; did you mean `companies`?"],
    );
}

#[test]
fn variables() {
    check_rest(
        "[state]\nprefix = '${NOPE}-x'\n[letters]\nkeep = '${'\nstore = { directory = '${a b}' }\n",
        &[
            "m.toml:8: [state] prefix: the environment variable `NOPE` is not set; set it, or give a default: `${NOPE:-default}`",
            "m.toml:10: [letters] keep: `${` has no `}`; write `${NAME}`, or `$${` for the characters themselves",
            "m.toml:11: [letters] store.directory: `a b` is not the name of an environment variable; \
         write `${NAME}` or `${NAME:-default}`, of letters, digits and `_`",
        ],
    );
    check_projection(
        &format!("{EMIT}\nchanged = ['x', '${{NOPE}}']"),
        &[(
            7,
            "changed: the environment variable `NOPE` is not set; set it, or give a default: `${NOPE:-default}`",
        )],
    );
}

#[test]
fn types() {
    check_rest(
        "[state]\nprefix = 5\n[pipeline]\nconcurrency = 'many'\n[letters]\nstore = 7\n",
        &[
            "m.toml:8: [state] prefix: is of type integer `5`; use text in quotes",
            "m.toml:10: [pipeline] concurrency: is of type string \"many\"; use a whole number",
            "m.toml:12: [letters] store: is of type integer `7`; use \"table\", { queue = \"https://…\" } or { directory = \"letters/\" }",
        ],
    );
    check_projection(
        &format!("{EMIT}\nchanged = 'name'\ninclude = ['a', 5]"),
        &[
            (7, "changed: is of type string \"name\"; use a list: [\"…\", \"…\"]"),
            (8, "include: is of type integer `5`; use text in quotes"),
        ],
    );
    check_projection(
        &format!("{REPLICA}\nset = {{ a = ['x'], b = inf }}"),
        &[
            (8, "set.a: is of type sequence; use a template in quotes, a number, true or false"),
            (8, "set.b: inf is no DynamoDB number; use 1e-130 to 9.99e125"),
        ],
    );
}

#[test]
fn sources() {
    let projection = "[projection.p]\nkind = 'emit'\nfrom = 'a'\ntopic = 'arn:aws:sns:r:1:t'\n";
    let check = |source: &str, expected: &[&str]| check(&format!("{source}\n{projection}"), expected);
    check(
        "[source.a]\ntable = 'Table'\nqueue = 'https://sqs.r.amazonaws.com/1/q'",
        &["m.toml:1: [source.a] has more than one of `table`, `queue` and `topic`; give exactly one of them"],
    );
    check(
        "[source.a]\ntable = 'arn:aws:dynamodb:r:1:table/T'",
        &["m.toml:2: [source.a] table: `arn:aws:dynamodb:r:1:table/T` has a `:` in it; \
         use a name of 3 to 255 of a-z, A-Z, 0-9, `-`, `_` and `.`, without account or region"],
    );
    check(
        "[source.a]\nqueue = 'arn:aws:sqs:r:1:q'",
        &["m.toml:2: [source.a] queue: `arn:aws:sqs:r:1:q` is not the URL of a queue; \
         use the queue's URL: https://sqs.<region>.amazonaws.com/<account>/<name>"],
    );
    check(
        "[source.a]\ntopic = 'topic'",
        &["m.toml:2: [source.a] topic: `topic` is not the ARN of an SNS topic; \
         use the topic's ARN: arn:aws:sns:<region>:<account>:<name>"],
    );
    check(
        "[source.a]\ntable = 'Table'\nstart = 'lastest'\nstream_view = 'KEYS'",
        &[
            "m.toml:3: [source.a] start: `lastest` is not a choice; did you mean `latest`?",
            "m.toml:4: [source.a] stream_view: `KEYS` is not a choice; \
         known are `NEW_AND_OLD_IMAGES`, `NEW_IMAGE`, `OLD_IMAGE`, `KEYS_ONLY`",
        ],
    );
    check(
        "[source.a]\ntopic = 'arn:aws:sns:r:1:t'\nstart = 'latest'",
        &["m.toml:3: [source.a] start: is about a table's stream, which this source has not; leave it out"],
    );
    check(
        "[source.a]\ntable = 'Table'\n[source.b]\ntable = 'Table'\n[source.'c d']\ntable = 'Other'",
        &[
            "m.toml:3: [source.b] is the same table as source `a`; make it one source: any number of projections can follow it",
            "m.toml:5: [source.c d] `c d` is not a name: use 1 to 100 of a-z, A-Z, 0-9, `-`, `_` and `.`; rename it",
        ],
    );
}

#[test]
fn letters_in_a_queue() {
    // SQS keeps a message up to 14 days, whatever is said here.
    check_rest(
        "[state]\ntombstones = '10d'\n[letters]\nstore = { queue = 'https://q/x' }\nkeep = '1d'\n",
        &[
            "m.toml:8: [state] tombstones: 10d is not longer than letters.keep = 14d: a replayed letter could bring a removed row back; \
         make `state.tombstones` longer, or `letters.keep` shorter",
        ],
    );
    check_rest(
        "[letters]\nstore = { queue = 'https://q/x', directory = 'letters/' }\n",
        &[
            "m.toml:8: [letters] store: names two places; use \"table\", { queue = \"https://…\" } or { directory = \"letters/\" }",
        ],
    );
    check_rest("[letters]\nstore = { queue = 'https://q/x' }\n", &[]);
}

#[test]
fn settings() {
    check_rest(
        "[state]\ntombstones = '14d'\n[letters]\nkeep = '14d'\n",
        &[
            "m.toml:8: [state] tombstones: 14d is not longer than letters.keep = 14d: a replayed letter could bring a removed row back; \
         make `state.tombstones` longer, or `letters.keep` shorter",
        ],
    );
    check_rest(
        "[state]\nprefix = 'a b'\ntombstones = '3 weeks'\n[letters]\nstore = { queue = 'q' }\nkeep = '0d'\n",
        &[
            "m.toml:8: [state] prefix: `a bletters` has a ` ` in it; \
         it begins the names of tables: use a-z, A-Z, 0-9, `-`, `_` and `.`",
            "m.toml:9: [state] tombstones: `3 weeks` is not a duration; write a whole number and ms, s, m, h or d: \"30d\"",
            "m.toml:11: [letters] store.queue: `q` is not the URL of a queue; \
         use the queue's URL: https://sqs.<region>.amazonaws.com/<account>/<name>",
            "m.toml:12: [letters] keep: 0d is out of range; use 1d to 3650d",
        ],
    );
    check_rest(
        "[letters]\nstore = 'tabel'\n[pipeline]\nconcurrency = 0\nhold = '25h'\nretry_initial = '10s'\nretry_elapsed = '1s'\n",
        &[
            "m.toml:8: [letters] store: `tabel` is not a store of letters; use \"table\", { queue = \"https://…\" } or { directory = \"letters/\" }",
            "m.toml:10: [pipeline] concurrency: 0 is out of range; use 1 to 1024",
            "m.toml:11: [pipeline] hold: 25h is out of range; use 1m to 1d",
            "m.toml:12: [pipeline] retry_max: 5s is less than retry_initial = 10s; make it at least `retry_initial`",
            "m.toml:13: [pipeline] retry_elapsed: 1s is less than retry_max = 5s; make it at least `retry_max`",
        ],
    );
}

#[test]
fn pollers() {
    check_rest(
        "[poller]\nconsumer = 'a/b'\nttl = '100ms'\nmax_moves = 0\nbusy = '1s'\nidle = '500ms'\non_gap = 'hlat'\n\
         listen = '9464'\nlogs = 'json'\n",
        &[
            "m.toml:8: [poller] consumer: `a/b` is not a name: use 1 to 100 of a-z, A-Z, 0-9, `-`, `_` and `.`; \
         choose another name",
            "m.toml:9: [poller] ttl: 100ms is out of range; use 1s to 10m",
            "m.toml:10: [poller] max_moves: 0 is out of range; use 1 to 1000",
            "m.toml:11: [poller] busy: 1s is more than idle = 500ms; make it at most `idle`",
            "m.toml:13: [poller] on_gap: `hlat` is not a choice; did you mean `halt`?",
            "m.toml:14: [poller] listen: `9464` is not a place to listen at; \
         use an address and a port, \"127.0.0.1:9464\", or \"off\"",
            "m.toml:15: [poller] logs: is not a known key; \
         known are `consumer`, `ttl`, `max_moves`, `busy`, `idle`, `on_gap`, `listen`",
        ],
    );
    check_rest(
        "[poller]\nttl = 10\nmax_moves = '10'\nidle = '6m'\nlisten = 'localhost:9464'\n",
        &[
            "m.toml:8: [poller] ttl: is of type integer `10`; use text in quotes",
            "m.toml:9: [poller] max_moves: is of type string \"10\"; use a whole number",
            "m.toml:10: [poller] idle: 6m is out of range; use 10ms to 5m",
            "m.toml:11: [poller] listen: `localhost:9464` is not a place to listen at; \
         use an address and a port, \"127.0.0.1:9464\", or \"off\"",
        ],
    );
    check(
        "poller = 1\n[source.a]\ntable = 'Table'\n[projection.p]\nkind = 'emit'\nfrom = 'a'\ntopic = 'arn:aws:sns:r:1:t'\n",
        &["m.toml:1: [poller] is not a section; write [poller]"],
    );
}

#[test]
fn starts() {
    const NOW: u64 = 1_750_000_000;
    let check = |start: &str, expected: &[&str]| {
        let text = format!(
            "[source.a]\ntable = 'Table'\nstart = {start}\n\
             [projection.p]\nkind = 'emit'\nfrom = 'a'\ntopic = 'arn:aws:sns:r:1:t'\n"
        );
        let found = match Config::parse_at("m.toml", &text, &|_| None, NOW) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        };
        let expected: Vec<String> =
            expected.iter().map(|what| format!("m.toml:3: [source.a] start: {what}")).collect();
        assert_eq!(found, expected, "{start}");
    };
    let form = "use \"trim-horizon\", \"latest\", or a time in RFC 3339: \"2025-06-15T15:00:00Z\"";
    check("'2025-06-15T15:06:40Z'", &[]);
    check("'2025-06-15T17:06:39+02:00'", &[]);
    // A clock that is a little ahead is no mistake of the file.
    check("'2025-06-15T15:07:40Z'", &[]);
    check(
        "'2025-06-15T15:07:41Z'",
        &["2025-06-15T15:07:41Z is still to come; use a time that has passed, or \"latest\""],
    );
    check("'2025-06-15'", &[&format!("`2025-06-15` is not a start; {form}")]);
    check("'2025-02-30T15:00:00Z'", &[&format!("`2025-02-30T15:00:00Z` is not a start; {form}")]);
    check("'yesterday'", &[&format!("`yesterday` is not a start; {form}")]);
    check("''", &[&format!("`` is not a start; {form}")]);
    check("'trim_horizon'", &["`trim_horizon` is not a choice; did you mean `trim-horizon`?"]);
    check("2025-06-15T15:00:00Z", &["is of type map; use text in quotes"]);
}

#[test]
fn what_every_projection_has() {
    check_projection(
        "",
        &[
            (
                3,
                "kind: is missing; say what it keeps: \"replica\", \"copy\", \"aggregate\", \"index\" or \"emit\"",
            ),
            (3, "from: is missing; name the source whose changes it follows"),
        ],
    );
    check_projection(
        "kind = 'replicate'\nfrom = 'orders'",
        &[
            (4, "kind: `replicate` is not a kind; did you mean `replica`?"),
            (5, "from: there is no source `orders`; known are `a`"),
        ],
    );
    check_projection(
        "kind = 'sum'\nfrom = 'aa'",
        &[
            (4, "kind: `sum` is not a kind; known are `replica`, `copy`, `aggregate`, `index`, `emit`"),
            (5, "from: there is no source `aa`; did you mean `a`?"),
        ],
    );
    check_projection(
        &format!("{EMIT}\nwhere = 'nwe.x == 1'\nversion = ''\nchanged = []"),
        &[
            (7, "where: `nwe.x == 1` speaks of `nwe`: only `new`, `old`, `keys` and `event` are known"),
            (8, "version: is an empty name; name a top-level attribute"),
            (9, "changed: is an empty list; name top-level attributes, or leave it out"),
        ],
    );
    check_projection(
        &format!("{EMIT}\nchanged = ['a', 'b', 'a']\ninclude = ['ms:p']"),
        &[
            (7, "changed: names `a` twice; name it once"),
            (
                8,
                "include: `ms:p` is reserved: attributes that start with `ms:` are Millstream's guards; choose another name",
            ),
        ],
    );
    check(
        "[source.a]\ntable = 'Table'\n[projection.removed]\nkind = 'emit'\nfrom = 'a'\ntopic = 'arn:aws:sns:r:1:t'\n",
        &[
            "m.toml:3: [projection.removed] the guard `ms:removed` would be an attribute of inline tombstones; choose another name",
        ],
    );
}

#[test]
fn replicas() {
    check_projection(
        "kind = 'replica'\nfrom = 'a'",
        &[
            (3, "table: is missing; name the table to write to"),
            (3, "key: is missing; say how a row is found: key = { id = \"{id}\" }"),
        ],
    );
    let keyed = |key: &str| format!("kind = 'replica'\nfrom = 'a'\ntable = 'Rows'\nkey = {key}");
    check_projection(&keyed("{}"), &[(7, "key: has 0 attributes; a key has 1 to 2")]);
    check_projection(
        &keyed("{ a = '{a}', b = '{b}', c = '{c}' }"),
        &[(7, "key: has 3 attributes; a key has 1 to 2")],
    );
    check_projection(
        &keyed("{ a = '{a?}', b = true }"),
        &[
            (7, "key.a: a key attribute cannot be optional; leave the `?` out"),
            (7, "key.b: a key attribute cannot be true or false; use text or a number"),
        ],
    );
    check_projection(
        &keyed("{ a = '', b = '{b' }"),
        &[
            (7, "key.a: a key attribute cannot be empty; use \"{path}\""),
            (
                7,
                "key.b: `{b` has a brace without its partner: write `{path}`, and `{{` or `}}` for a brace itself",
            ),
        ],
    );
    check_projection(
        &keyed("{ a = '{a..b}' }"),
        &[(
            7,
            "key.a: `a..b` is not an attribute path: a name is missing; write a path like {name}, {customer.name} or {lines[0].sku}",
        )],
    );
    check_projection(
        &format!("{REPLICA}\nset = {{ id = '{{other}}' }}"),
        &[(
            8,
            "set.id: says something else than `key.id`; leave it out: the attributes of the key are part of the row anyway",
        )],
    );
    check_projection(&format!("{REPLICA}\nset = {{ id = '{{id}}', a = 1 }}"), &[]);
    check_projection(
        &format!("{REPLICA}\nset = {{}}"),
        &[(8, "set: is empty; leave it out to keep the whole item")],
    );
    check_projection(
        &format!("{REPLICA}\nset = {{ 'ms:p' = '{{a}}' }}"),
        &[(
            8,
            "set.ms:p: `ms:p` is reserved: attributes that start with `ms:` are Millstream's guards; choose another name",
        )],
    );
    check_projection(
        &format!("{REPLICA}\non_delete = 'keep'\ntombstones = 'inline'"),
        &[(
            9,
            "tombstones: rows are never removed with on_delete = \"keep\", so there is no removal to remember; leave one of the two out",
        )],
    );
    check_projection(
        &format!("{REPLICA}\non_delete = 'clear'\ntombstones = 'legder'"),
        &[
            (8, "on_delete: `clear` is not a choice; known are `delete`, `keep`"),
            (9, "tombstones: `legder` is not a choice; did you mean `ledger`?"),
        ],
    );
}

#[test]
fn copies() {
    let rows = "write key = { … } for one row by its primary key, or match = { index = \"…\", key = { … } } for many";
    check_projection(
        COPY,
        &[
            (3, &format!("has neither `key` nor `match`; {rows}")),
            (3, "set: is missing; name at least one attribute to copy: set = { name = \"{name}\" }"),
        ],
    );
    check_projection(
        &format!("{COPY}\nset = {{ b = '{{b}}' }}\nmatch = {{ key = {{ a = '{{a}}' }} }}"),
        &[(8, &format!("match: names no index; {rows}"))],
    );
    check_projection(
        &format!("{COPY}\nset = {{ b = '{{b}}' }}\nmatch = {{ index = 'by-a' }}\nkey = {{ a = '{{a}}' }}"),
        &[(3, &format!("has both `key` and `match`; {rows}")), (8, &format!("match: has no key; {rows}"))],
    );
    check_projection(
        &format!("{COPY}\nset = {{ b = '{{b}}' }}\nmatch = {{ index = 'by-a', keys = 1 }}"),
        &[(8, "match: unknown field `keys`; use `index` or `key`")],
    );
    let by_key = format!("{COPY}\nkey = {{ a = '{{a}}' }}");
    check_projection(
        &format!("{by_key}\nset = {{}}"),
        &[(8, "set: is empty; name at least one attribute to copy")],
    );
    check_projection(
        &format!("{by_key}\nset = {{ a = '{{a}}', b = '{{b}}' }}"),
        &[(
            8,
            "set.a: is an attribute that the rows are found by; leave it out: a row that changed it would be another row",
        )],
    );
    check_projection(
        &format!("{by_key}\nset = {{ b = '{{b}}' }}\ntombstones = 'ledger'"),
        &[(
            9,
            "tombstones: is not a known key; known are `kind`, `from`, `where`, `changed`, `version`, `table`, `key`, `match`, `set`, `on_delete`",
        )],
    );
}

#[test]
fn emits() {
    check_projection(
        "kind = 'emit'\nfrom = 'a'",
        &[(3, "topic: is missing; give the ARN of the SNS topic to publish to")],
    );
}

#[test]
fn images_that_the_stream_lacks() {
    let check = |view: &str, projection: &str, expected: &[&str]| {
        let text =
            format!("[source.a]\ntable = 'Table'\nstream_view = '{view}'\n[projection.p]\n{projection}\n");
        let expected: Vec<String> = expected
            .iter()
            .map(|what| {
                format!(
                    "m.toml:4: [projection.p] {what}, but stream_view = \"{view}\" of source `a`; \
                     give the table's stream NEW_AND_OLD_IMAGES"
                )
            })
            .collect();
        self::check(&text, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    };
    check("KEYS_ONLY", REPLICA, &["kind: needs the item after a change"]);
    check("OLD_IMAGE", REPLICA, &["kind: needs the item after a change"]);
    check("NEW_IMAGE", REPLICA, &[]);
    check("KEYS_ONLY", EMIT, &[]);
    check(
        "KEYS_ONLY",
        &format!("{EMIT}\ninclude = ['b']\nwhere = 'has(new.b)'"),
        &["include: needs the item", "where: reads `new`"],
    );
    check(
        "NEW_IMAGE",
        &format!("{REPLICA}\nwhere = 'has(old.b)'\nchanged = ['b']\nversion = 'v'"),
        &[
            "where: reads `old`",
            "changed: compares the item before and after",
            "version: is read from the item before and after",
        ],
    );
    check(
        "NEW_IMAGE",
        "kind = 'replica'\nfrom = 'a'\ntable = 'Rows'\nkey = { id = '{b.c}' }",
        &["key: reads `b.c` of the item before the change"],
    );
}

#[test]
fn everything_at_once_in_the_order_of_the_file() {
    check(
        "[projection.p]\nkind = 'emti'\nfrom = 'b'\n[source.a]\ntable = 1\nx = 2\n[state]\nprefix = '${X}'\n",
        &[
            "m.toml:2: [projection.p] kind: `emti` is not a kind; did you mean `emit`?",
            "m.toml:3: [projection.p] from: there is no source `b`; known are `a`",
            "m.toml:5: [source.a] table: is of type integer `1`; use text in quotes",
            "m.toml:6: [source.a] x: is not a known key; known are `table`, `queue`, `topic`, `start`, `stream_view`",
            "m.toml:8: [state] prefix: the environment variable `X` is not set; set it, or give a default: `${X:-default}`",
        ],
    );
}
