//! Keys of the file while they are read: each keeps its place, and a wrong type is an error of that key alone.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use toml::Spanned;
use toml::de::DeTable;

use super::error::Section;
use super::suggest;

/// One key that may be there: its value, or what is wrong with its type.
#[derive(Debug)]
pub(super) struct Field<T>(Option<At<Result<T, String>>>);

/// A value and where it stands in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<T> {
    /// The byte offset.
    pub(super) offset: usize,
    /// The value.
    pub(super) value: T,
}

impl<T> Field<T> {
    /// Where the key's value stands, if the key is there.
    pub(super) fn offset(&self) -> Option<usize> {
        self.0.as_ref().map(|at| at.offset)
    }

    /// The value if the key is there and its type is right; a wrong type is noted.
    pub(super) fn value(self, section: &mut Section<'_>, key: &str) -> Option<At<T>> {
        let At { offset, value } = self.0?;
        match value {
            Ok(value) => Some(At { offset, value }),
            Err(message) => {
                let (what, advice) = in_plain_words(&message);
                section.error(offset, key, what, advice);
                None
            }
        }
    }

    /// As `value`; a missing key is noted too, with what would be right.
    pub(super) fn required(self, section: &mut Section<'_>, key: &str, advice: &str) -> Option<At<T>> {
        if self.0.is_none() {
            section.error_here(key, "is missing", advice);
        }
        self.value(section, key)
    }
}

/// serde's `invalid type: integer `5`, expected a string`, as what is wrong and what would be right.
fn in_plain_words(message: &str) -> (String, String) {
    let message = message.lines().next().unwrap_or_default();
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let what = what
        .strip_prefix("invalid type: ")
        .map_or_else(|| what.to_owned(), |found| format!("is of type {found}"));
    let advice = match expected {
        "" => String::new(),
        "a string" => "use text in quotes".to_owned(),
        "i64" => "use a whole number".to_owned(),
        "a boolean" => "use true or false".to_owned(),
        "a sequence" => "use a list: [\"…\", \"…\"]".to_owned(),
        other => format!("use {other}"),
    };
    (what, advice)
}

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = Spanned::<Typed<T>>::deserialize(deserializer)?;
        let offset = found.span().start;
        Ok(Self(Some(At { offset, value: found.into_inner().0 })))
    }
}

/// Keeps a failure as a value, so that the keys beside it are read too.
struct Typed<T>(Result<T, String>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Typed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(T::deserialize(deserializer).map_err(|error| error.to_string())))
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A table of any keys, in the order of the file: attribute names to templates.
#[derive(Debug)]
pub(super) struct Entries<T>(pub(super) Vec<(At<String>, Field<T>)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Table<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table: { attribute = \"{path}\" }")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, value)) = map.next_entry::<Spanned<String>, Field<T>>()? {
                    let offset = key.span().start;
                    entries.push((At { offset, value: key.into_inner() }, value));
                }
                entries.sort_by_key(|(key, _)| key.offset);
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Table(std::marker::PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Entries_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        std::collections::BTreeMap::<String, T>::json_schema(generator)
    }
}

/// Takes the keys of `T` out of a table and reads them.
pub(super) fn take<T: DeserializeOwned + Default>(table: &mut DeTable<'_>, section: &mut Section<'_>) -> T {
    let mut own = DeTable::new();
    for key in keys_of::<T>() {
        if let Some((key, value)) = table.remove_entry(*key) {
            own.insert(key, value);
        }
    }
    let span = section.offset..section.offset;
    T::deserialize(toml::Deserializer::from(Spanned::new(span, own))).unwrap_or_else(|error| {
        section.error_here("", error.message(), "");
        T::default()
    })
}

/// Notes every key that nothing has taken out of a table.
pub(super) fn refuse_rest(table: &DeTable<'_>, known: &[&[&str]], section: &mut Section<'_>) {
    let known = known.concat();
    for (key, _) in table {
        let name: &str = key.get_ref();
        section.error(key.span().start, name, "is not a known key", suggest::instead_of(name, &known));
    }
}

/// The keys of a section, as its struct declares them to serde: one truth for reading, suggesting and the schema.
pub(super) fn keys_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut keys: &'static [&'static str] = &[];
    let _ = T::deserialize(Probe(&mut keys));
    keys
}

/// A deserializer that only learns which fields are asked for.
struct Probe<'k>(&'k mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("only the fields of a struct are asked for"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
