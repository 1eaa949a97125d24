//! An ordered document, as JSON or as the YAML of a template: with comments, and with CloudFormation's short forms.

use std::fmt::Write;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// A part of a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Bool(bool),
    /// Parts in their order.
    List(Vec<Part>),
    /// Named parts in their order.
    Map(Vec<(String, Part)>),
    /// What CloudFormation puts in when it makes the stack.
    Call(Call, String),
    /// A part with lines about it, which only YAML has room for.
    Noted(Vec<String>, Box<Part>),
}

/// A function of CloudFormation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// A text with `${…}` in it.
    Sub,
    /// What a resource is known by.
    Ref,
    /// `Resource.Attribute`.
    GetAtt,
}

impl Part {
    /// A text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Named parts.
    pub(crate) fn map<const N: usize>(entries: [(&str, Part); N]) -> Self {
        Self::Map(entries.into_iter().map(|(name, part)| (name.to_owned(), part)).collect())
    }

    /// Texts.
    pub(crate) fn list(texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::List(texts.into_iter().map(Self::text).collect())
    }

    /// The same with lines about it.
    pub(crate) fn noted(self, lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Noted(lines.into_iter().map(Into::into).collect(), Box::new(self))
    }

    /// As JSON on many lines.
    pub(crate) fn to_json(&self) -> String {
        // A document has no keys but texts.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// As YAML in block style.
    pub(crate) fn to_yaml(&self) -> String {
        let mut yaml = String::new();
        self.write_block(&mut yaml, 0);
        yaml
    }

    fn bare(&self) -> &Self {
        match self {
            Self::Noted(_, part) => part.bare(),
            part => part,
        }
    }

    fn notes(&self) -> &[String] {
        match self {
            Self::Noted(lines, _) => lines,
            _ => &[],
        }
    }

    fn write_block(&self, yaml: &mut String, depth: usize) {
        // Writing to a text cannot fail.
        let indent = "  ".repeat(depth);
        match self.bare() {
            Self::Map(entries) => {
                for (name, part) in entries {
                    part.write_notes(yaml, &indent);
                    let _ = write!(yaml, "{indent}{}:", plain_or_quoted(name));
                    part.write_value(yaml, depth);
                }
            }
            Self::List(parts) => {
                for part in parts {
                    part.write_notes(yaml, &indent);
                    let _ = write!(yaml, "{indent}-");
                    match part.bare() {
                        // The first name stands beside the dash.
                        Self::Map(entries) if !entries.is_empty() => {
                            let mut inner = String::new();
                            part.bare().write_block(&mut inner, depth + 1);
                            yaml.push(' ');
                            yaml.push_str(inner.trim_start());
                        }
                        _ => part.write_value(yaml, depth),
                    }
                }
            }
            scalar => {
                let _ = writeln!(yaml, "{indent}{}", scalar.scalar());
            }
        }
    }

    fn write_notes(&self, yaml: &mut String, indent: &str) {
        for line in self.notes() {
            let _ = writeln!(yaml, "{indent}# {line}");
        }
    }

    fn write_value(&self, yaml: &mut String, depth: usize) {
        match self.bare() {
            Self::Map(entries) if !entries.is_empty() => {
                yaml.push('\n');
                self.write_block(yaml, depth + 1);
            }
            Self::List(parts) if !parts.is_empty() => {
                yaml.push('\n');
                self.write_block(yaml, depth + 1);
            }
            scalar => {
                let _ = writeln!(yaml, " {}", scalar.scalar());
            }
        }
    }

    fn scalar(&self) -> String {
        match self.bare() {
            Self::Text(text) => plain_or_quoted(text),
            Self::Number(number) => number.to_string(),
            Self::Bool(bool) => bool.to_string(),
            Self::Call(Call::Sub, text) => format!("!Sub {}", quoted(text)),
            Self::Call(Call::Ref, name) => format!("!Ref {name}"),
            Self::Call(Call::GetAtt, name) => format!("!GetAtt {name}"),
            Self::List(_) => "[]".to_owned(),
            Self::Map(_) | Self::Noted(..) => "{}".to_owned(),
        }
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.bare() {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Bool(bool) => serializer.serialize_bool(*bool),
            Self::List(parts) => serializer.collect_seq(parts),
            Self::Map(entries) => serializer.collect_map(entries.iter().map(|(name, part)| (name, part))),
            Self::Noted(_, part) => part.serialize(serializer),
            Self::Call(call, text) => {
                let mut map = serializer.serialize_map(Some(1))?;
                match call {
                    Call::Sub => map.serialize_entry("Fn::Sub", text)?,
                    Call::Ref => map.serialize_entry("Ref", text)?,
                    Call::GetAtt => {
                        let (name, attribute) = text.split_once('.').unwrap_or((text, ""));
                        map.serialize_entry("Fn::GetAtt", &[name, attribute])?;
                    }
                }
                map.end()
            }
        }
    }
}

/// What YAML reads as something else than a text.
const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

fn plain_or_quoted(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':');
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let word = WORDS.contains(&text.to_ascii_lowercase().as_str());
    match begins && !word && !text.ends_with(':') && text.chars().all(safe) {
        true => text.to_owned(),
        false => quoted(text),
    }
}

/// JSON inside of it stays readable in single quotes; double quotes can hold anything, as JSON has it.
fn quoted(text: &str) -> String {
    match text.contains('"') && !text.contains(char::is_control) {
        true => format!("'{}'", text.replace('\'', "''")),
        false => serde_json::Value::from(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Part {
        Part::map([
            ("Version", Part::text("2012-10-17")),
            (
                "Statement",
                Part::List(vec![
                    Part::map([
                        ("Action", Part::list(["dynamodb:GetItem", "*", "no"])),
                        ("Resource", Part::Call(Call::Sub, "arn:${AWS::Region}:x".to_owned())),
                    ])
                    .noted(["why", "and how"]),
                    Part::Call(Call::GetAtt, "Table.StreamArn".to_owned()),
                ]),
            ),
            ("Empty", Part::List(Vec::new())),
            ("Pattern", Part::text(r#"{"a":["it's"]}"#).noted(["a filter"])),
            ("Odd key", Part::Bool(true)),
            ("Number", Part::Number(-1)),
        ])
    }

    #[test]
    fn yaml_as_people_write_it() {
        assert_eq!(
            document().to_yaml(),
            r#"Version: "2012-10-17"
Statement:
  # why
  # and how
  - Action:
      - dynamodb:GetItem
      - "*"
      - "no"
    Resource: !Sub "arn:${AWS::Region}:x"
  - !GetAtt Table.StreamArn
Empty: []
# a filter
Pattern: '{"a":["it''s"]}'
"Odd key": true
Number: -1
"#
        );
    }

    #[test]
    fn json_with_the_long_forms() {
        let json: serde_json::Value = serde_json::from_str(&document().to_json()).unwrap();
        assert_eq!(json["Statement"][0]["Resource"]["Fn::Sub"], "arn:${AWS::Region}:x");
        assert_eq!(json["Statement"][1]["Fn::GetAtt"], serde_json::json!(["Table", "StreamArn"]));
        assert_eq!(json["Pattern"], r#"{"a":["it's"]}"#);
        assert!(document().to_json().starts_with("{\n  \"Version\": \"2012-10-17\",\n  \"Statement\""));
    }
}
