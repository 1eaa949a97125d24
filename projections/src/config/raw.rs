//! The file as it is written. The comments are what the JSON Schema and an editor show for each key.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::field::{Entries, Field};

/// Attribute names and the templates that make their values.
pub(super) type RawTemplates = Entries<RawValue>;

/// `[source.<name>]`: where changes come from. Exactly one of `table`, `queue` and `topic`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RawSource {
    /// The name of a DynamoDB table. Its stream is looked up; the table needs one.
    pub(super) table: Field<String>,
    /// The URL of an SQS queue subscribed to a topic that an `emit` publishes to, with or without raw delivery.
    pub(super) queue: Field<String>,
    /// The ARN of an SNS topic that an `emit` publishes to and that invokes the Lambda directly. A queue in between
    /// is better: it keeps what fails and reports each message on its own.
    pub(super) topic: Field<String>,
    /// Where the poller starts in a stream it has never read: `trim-horizon` (default; everything of the last 24 h),
    /// `latest` (may miss the changes made while it starts), or a time that has passed, `2025-06-15T15:00:00Z`. The
    /// Lambda's start is set at its event source mapping.
    #[schemars(extend(
        "anyOf" = [{ "enum": ["trim-horizon", "latest"] }, { "format": "date-time" }],
        "default" = "trim-horizon"
    ))]
    pub(super) start: Field<String>,
    /// What the table's stream carries, for the checks: `NEW_AND_OLD_IMAGES` (default), `NEW_IMAGE`, `OLD_IMAGE` or
    /// `KEYS_ONLY`.
    #[schemars(extend(
        "enum" = ["NEW_AND_OLD_IMAGES", "NEW_IMAGE", "OLD_IMAGE", "KEYS_ONLY"],
        "default" = "NEW_AND_OLD_IMAGES"
    ))]
    pub(super) stream_view: Field<String>,
}

/// `[state]`: Millstream's own tables, the ledger and the letters.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RawState {
    /// What the names of these tables start with (default `millstream-`): `<prefix>ledger`, `<prefix>letters`.
    #[schemars(extend("default" = "millstream-"))]
    pub(super) prefix: Field<String>,
    /// How long a removal is remembered (default 30d, 1d to 3650d). Longer than `letters.keep`: a letter that is replayed
    /// after the tombstone has gone could bring a removed row back.
    #[schemars(extend("default" = "30d"))]
    pub(super) tombstones: Field<String>,
}

/// `[letters]`: where changes go that can never be projected.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RawLetters {
    /// `"table"` (default): the table `<prefix>letters`. `{ queue = "https://…" }`: an SQS queue. `{ directory =
    /// "letters/" }`: JSON files, for the poller.
    #[schemars(extend("default" = "table"))]
    pub(super) store: Field<RawStore>,
    /// How long a letter is kept (default 14d, 1d to 3650d). Shorter than `state.tombstones`. A queue keeps by its own
    /// retention: there it counts as 14d at least, and a directory keeps for ever.
    #[schemars(extend("default" = "14d"))]
    pub(super) keep: Field<String>,
}

/// `[pipeline]`: how fast, and how patient.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RawPipeline {
    /// How many targets are written at once (default 64, 1 to 1024). One target never has two writes under way.
    #[schemars(extend("default" = 64, "minimum" = 1, "maximum" = 1024))]
    pub(super) concurrency: Field<i64>,
    /// The age at which a change that still meets transient faults becomes a letter (default 20h, 1m to 24h). A stream
    /// forgets after 24 h: the rest is the time to store the letter.
    #[schemars(extend("default" = "20h"))]
    pub(super) hold: Field<String>,
    /// How long before the Lambda's deadline nothing new is started (default 2s, 100ms to 60s). What is left is
    /// reported unfinished, so that no batch times out.
    #[schemars(extend("default" = "2s"))]
    pub(super) deadline_margin: Field<String>,
    /// The first wait after a transient fault (default 50ms, 1ms to 60s); doubled from there, with full jitter.
    #[schemars(extend("default" = "50ms"))]
    pub(super) retry_initial: Field<String>,
    /// The longest wait between two attempts (default 5s, up to 60s).
    #[schemars(extend("default" = "5s"))]
    pub(super) retry_max: Field<String>,
    /// How long one write is tried in one batch (default 60s, up to 15m). After it the change is unfinished and comes
    /// again; in Lambda the deadline ends it earlier.
    #[schemars(extend("default" = "60s"))]
    pub(super) retry_elapsed: Field<String>,
}

/// `[poller]`: how the workers of `millstream run` keep time. The flags of `run` go before these; the Lambda reads none.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RawPoller {
    /// What the workers have in common that share the work (default `default`): 1 to 100 of a-z, A-Z, 0-9, `-`, `_` and
    /// `.`. Another consumer reads everything for itself.
    #[schemars(extend("default" = "default"))]
    pub(super) consumer: Field<String>,
    /// How long a worker's heartbeat may stand still before others take its shards (default 10s, 1s to 10m). The same for
    /// all workers of a consumer.
    #[schemars(extend("default" = "10s"))]
    pub(super) ttl: Field<String>,
    /// How many shards a worker hands to others at a time (default 10, 1 to 1000).
    #[schemars(extend("default" = 10, "minimum" = 1, "maximum" = 1000))]
    pub(super) max_moves: Field<i64>,
    /// How soon a shard is asked again that had records (default 250ms, 10ms to 60s; at most `idle`).
    #[schemars(extend("default" = "250ms"))]
    pub(super) busy: Field<String>,
    /// How long a shard without records is left alone at most (default 5s, 10ms to 5m).
    #[schemars(extend("default" = "5s"))]
    pub(super) idle: Field<String>,
    /// What happens to a shard of which the stream forgot records before they were read: `halt` (default; it stands still
    /// until an operator decides) or `continue`. Either way the gap is recorded and counted.
    #[schemars(extend("enum" = ["halt", "continue"], "default" = "halt"))]
    pub(super) on_gap: Field<String>,
    /// Where `/healthz`, `/readyz` and `/metrics` are answered (default `127.0.0.1:9464`): an address and a port, or `off`.
    /// Whoever reaches it may read it. `run --once` answers nowhere unless its flag says where.
    #[schemars(extend("default" = "127.0.0.1:9464"))]
    pub(super) listen: Field<String>,
}

/// The keys that every `[projection.<name>]` has.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["kind", "from"]))]
pub(super) struct RawCommon {
    /// What it keeps: `replica`, `copy`, `aggregate`, `index` or `emit`.
    pub(super) kind: Field<String>,
    /// The source whose changes it follows: the `<name>` of a `[source.<name>]`.
    pub(super) from: Field<String>,
    /// Which items belong to it: a CEL expression over `new`, `old`, `keys` and `event`. All items without it. An item
    /// that stops matching is removed. An attribute that may be missing is tested with `has(new.x)` first.
    #[serde(rename = "where")]
    pub(super) condition: Field<String>,
    /// Top-level attributes, one of which has to differ between the images for a modification to count. Needs both
    /// images. Any difference counts without it; attributes that `key` or `match` reads count always, and all that an
    /// `aggregate` or `index` reads.
    pub(super) changed: Field<Vec<Field<String>>>,
    /// The attribute of the source item that holds its version: a whole number or text that grows with every change.
    /// The stream's own sequence without it. Never a timestamp.
    pub(super) version: Field<String>,
}

/// `kind = "replica"`: rows that the projection owns, put and deleted as a whole.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["table", "key"]))]
pub(super) struct RawReplica {
    /// The table that holds the rows.
    pub(super) table: Field<String>,
    /// The primary key of a row: one or two attributes, none optional.
    pub(super) key: Field<RawTemplates>,
    /// The attributes of a row, beside its key. The whole source item without it.
    pub(super) set: Field<RawTemplates>,
    /// What happens to a row when its source item goes: `delete` (default) or `keep`.
    #[schemars(extend("enum" = ["delete", "keep"], "default" = "delete"))]
    pub(super) on_delete: Field<String>,
    /// How a removal is remembered: `ledger` (default; a transaction with our own table) or `inline` (cheaper; a marker
    /// stays in the place of the row until the table's time to live, on the attribute `ms:expires`, drops it).
    #[schemars(extend("enum" = ["ledger", "inline"], "default" = "ledger"))]
    pub(super) tombstones: Field<String>,
}

/// `kind = "copy"`: attributes on rows that another owner made. Exactly one of `key` and `match`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["table", "set"]))]
pub(super) struct RawCopy {
    /// The table whose rows carry the copy.
    pub(super) table: Field<String>,
    /// One row by its primary key (1:1).
    pub(super) key: Field<RawTemplates>,
    /// Every row that an index has under a key (1:N): `{ index = "by-company", key = { companyId = "{companyId}" } }`.
    #[serde(rename = "match")]
    pub(super) rows: Field<RawMatch>,
    /// The attributes that are copied; at least one, and none of those that the rows are found by.
    pub(super) set: Field<RawTemplates>,
    /// What happens when the source item goes: `clear` (default; the copied attributes are removed), `keep` (they stay)
    /// or `delete` (the rows go too).
    #[schemars(extend("enum" = ["clear", "keep", "delete"], "default" = "clear"))]
    pub(super) on_delete: Field<String>,
}

/// How the rows of a 1:N copy are found.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["index", "key"]))]
pub(super) struct RawMatch {
    /// The index.
    pub(super) index: Field<String>,
    /// The key to query it by.
    pub(super) key: Field<RawTemplates>,
}

/// `kind = "aggregate"`: totals of groups of items. At least one of `count`, `sum`, `avg`, `min`, `max` and `distinct`; at
/// most 100 attributes together, of which an `avg` is two.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["table", "group"]))]
pub(super) struct RawAggregate {
    /// The table that holds the totals rows.
    pub(super) table: Field<String>,
    /// Which items belong together: the primary key of their totals row, one or two attributes, none optional.
    pub(super) group: Field<RawTemplates>,
    /// The attribute of the totals row that counts the items.
    pub(super) count: Field<String>,
    /// Numbers that are added up, exactly: `{ revenue = "{total}" }`. With `{total?}` an item without it adds nothing.
    pub(super) sum: Field<RawTemplates>,
    /// Numbers of which readers want the average: `{ price = "{price?}" }` keeps `price_sum` and `price_count`, the
    /// number of items that have it, and readers divide.
    pub(super) avg: Field<RawTemplates>,
    /// Values of which the least is kept: numbers, text or binary, of 1,000 bytes at most. `min`, `max` and `distinct` have
    /// at most 45 different templates together.
    pub(super) min: Field<RawTemplates>,
    /// Values of which the greatest is kept; as `min`.
    pub(super) max: Field<RawTemplates>,
    /// Values of which the different ones are counted; as `min`. Not with `shards`.
    pub(super) distinct: Field<RawTemplates>,
    /// What happens to a totals row without items: `keep` (default; it shows zeros) or `delete` (needs `count`).
    #[schemars(extend("enum" = ["keep", "delete"], "default" = "keep"))]
    pub(super) on_empty: Field<String>,
    /// Over how many rows the totals of one group are spread (default 1, up to 100), where one row would be too hot. The
    /// group has to use `{ms:shard}`, a number from 0, and readers add the rows up.
    #[schemars(extend("default" = 1, "minimum" = 1, "maximum" = 100))]
    pub(super) shards: Field<i64>,
}

/// `kind = "index"`: lookup rows, by which an item is found by other attributes than its key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["table", "key"]))]
pub(super) struct RawIndex {
    /// The table that holds the lookup rows.
    pub(super) table: Field<String>,
    /// The primary key of a lookup row: one or two attributes. An item that lacks an optional one has no row.
    pub(super) key: Field<RawTemplates>,
    /// The attributes of a row, beside its key. The key attributes of the source item without it.
    pub(super) set: Field<RawTemplates>,
    /// A list or set, `"{tags?}"`, of which every element has a row of its own: it is `{ms:each}` in `key` and `set`, and
    /// an attribute of it, if it is a map, `{ms:each.sku}`.
    pub(super) each: Field<String>,
    /// Whether a row that is there already and not of this index is refused (default true), and not taken over. Two items that
    /// ask for one row are a letter either way. Where it is false, no other index may ask for the same rows.
    #[schemars(extend("default" = true))]
    pub(super) unique: Field<bool>,
}

/// `kind = "emit"`: an event on an SNS topic for other services.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["topic"]))]
pub(super) struct RawEmit {
    /// The topic's ARN. On a FIFO topic the source item is the message group.
    pub(super) topic: Field<String>,
    /// The top-level attributes that travel in the event beside the key, before and after the change. None without it.
    /// An event may have 256 KiB: an item whose included attributes are larger, both images together, becomes a letter.
    pub(super) include: Field<Vec<Field<String>>>,
}

/// `"table"`, or a table that names another store.
#[derive(Debug)]
pub(super) enum RawStore {
    /// A word.
    Word(String),
    /// `{ queue = "…" }` or `{ directory = "…" }`.
    Place(RawPlace),
}

/// Where letters are stored if not in a table.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawPlace {
    /// A directory of JSON files; made if it is missing.
    pub(super) directory: Field<String>,
    /// The URL of an SQS queue, standard or FIFO, without a redrive policy and with a retention of 14 days. It cannot
    /// keep letters that are closed; the table can.
    pub(super) queue: Field<String>,
}

impl<'de> Deserialize<'de> for RawStore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Store;
        impl<'de> Visitor<'de> for Store {
            type Value = RawStore;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"table\", { queue = \"https://…\" } or { directory = \"letters/\" }")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<RawStore, E> {
                Ok(RawStore::Word(word.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawStore, A::Error> {
                RawPlace::deserialize(MapAccessDeserializer::new(map)).map(RawStore::Place)
            }
        }
        deserializer.deserialize_any(Store)
    }
}

impl JsonSchema for RawStore {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "LetterStore".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let place = RawPlace::json_schema(generator);
        json_schema!({ "anyOf": [{ "const": "table" }, place] })
    }
}

/// The value of one attribute: a template, or a literal.
#[derive(Debug)]
pub(super) enum RawValue {
    /// A template.
    Text(String),
    /// A number, as its text.
    Number(String),
    /// True or false.
    Bool(bool),
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;
        impl Visitor<'_> for Value {
            type Value = RawValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a template in quotes, a number, true or false")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawValue, E> {
                Ok(RawValue::Text(text.to_owned()))
            }

            fn visit_bool<E: de::Error>(self, bool: bool) -> Result<RawValue, E> {
                Ok(RawValue::Bool(bool))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<RawValue, E> {
                Ok(RawValue::Number(number.to_string()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<RawValue, E> {
                Ok(RawValue::Number(number.to_string()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<RawValue, E> {
                // DynamoDB's numbers have a magnitude of 1E-130 to 9.99E+125.
                if number == 0.0 || (1e-130..1e126).contains(&number.abs()) {
                    Ok(RawValue::Number(format!("{number:e}")))
                } else {
                    Err(E::custom(format!("{number} is no DynamoDB number, expected 1e-130 to 9.99e125")))
                }
            }
        }
        deserializer.deserialize_any(Value)
    }
}

impl JsonSchema for RawValue {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number", "boolean"],
            "description": "\"{path}\" keeps the attribute's type, \"COMPANY#{companyId}\" is text, \"{path?}\" may be missing."
        })
    }
}
