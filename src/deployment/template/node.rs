//! Parts of a YAML or JSON file with their lines, and with CloudFormation's functions in one form: `!Sub x` is `Fn::Sub: x`.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, Tag};

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub(crate) struct SyntaxError {
    /// The line, from 1.
    pub(crate) line: usize,
    /// What the parser said.
    pub(crate) what: String,
}

/// One part of a file.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Node {
    /// Where it begins, from 1.
    pub(crate) line: usize,
    /// What it is.
    pub(crate) value: Value,
}

/// What a part is.
#[derive(Debug, Default, PartialEq)]
pub(crate) enum Value {
    /// Nothing at all.
    #[default]
    None,
    /// A text, a number, or true or false.
    Scalar(String),
    /// Parts in their order.
    List(Vec<Arc<Node>>),
    /// Named parts in their order.
    Map(Vec<Entry>),
    /// An intrinsic function by its short name, as `Sub`, and what it is given.
    Call(String, Arc<Node>),
}

/// A named part.
#[derive(Debug, PartialEq)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: String,
    /// Where the name stands.
    pub(crate) line: usize,
    /// The part.
    pub(crate) value: Arc<Node>,
}

impl Node {
    /// A text, a number, or true or false, as it is written.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// The parts of a list; none of anything else.
    pub(crate) fn elements(&self) -> &[Arc<Self>] {
        match &self.value {
            Value::List(elements) => elements,
            _ => &[],
        }
    }

    /// The named parts of a map; none of anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// A named part.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Self>> {
        self.entry(name).map(|entry| &entry.value)
    }

    /// A named part with its place.
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.name == name)
    }

    /// Whether it is what a function gives.
    pub(crate) fn is_call(&self) -> bool {
        matches!(self.value, Value::Call(..))
    }

    /// Whether only a deployment knows if there is such a part: one on the way to it is what a function gives.
    pub(crate) fn hides(&self, path: &[&str]) -> bool {
        match path.split_first() {
            None => false,
            Some(_) if self.is_call() => true,
            Some((first, rest)) => self.get(first).is_some_and(|node| node.hides(rest)),
        }
    }

    /// A part of a part of it.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Arc<Self>> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.get(first)?, |node, name| node.get(name))
    }
}

/// Reads a file of one document.
pub(crate) fn parse(text: &str) -> Result<Arc<Node>, SyntaxError> {
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event
            .map_err(|error| SyntaxError { line: error.marker().line(), what: error.info().to_owned() })?;
        tree.take(event, span.start.line());
    }
    Ok(tree.root.unwrap_or_default())
}

/// A tree that is being built, without recursion: a file may be as deep as it likes.
#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    anchored: HashMap<usize, Arc<Node>>,
    root: Option<Arc<Node>>,
}

/// A list or a map whose end was not seen yet.
struct Open {
    line: usize,
    call: Option<String>,
    anchor: usize,
    parts: Parts,
}

enum Parts {
    List(Vec<Arc<Node>>),
    /// The entries, and the name of the one whose value comes next.
    Map(Vec<Entry>, Option<(String, usize)>),
}

impl Tree {
    fn take(&mut self, event: Event<'_>, line: usize) {
        match event {
            Event::Scalar(text, _, anchor, tag) => {
                let node = Node { line, value: Value::Scalar(text.into_owned()) };
                self.add(node, call(tag.as_deref()), anchor);
            }
            Event::SequenceStart(anchor, tag) => {
                self.open.push(Open {
                    line,
                    call: call(tag.as_deref()),
                    anchor,
                    parts: Parts::List(Vec::new()),
                });
            }
            Event::MappingStart(anchor, tag) => {
                let parts = Parts::Map(Vec::new(), None);
                self.open.push(Open { line, call: call(tag.as_deref()), anchor, parts });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { line, call, anchor, parts }) = self.open.pop() else { return };
                let value = match parts {
                    Parts::List(elements) => Value::List(elements),
                    Parts::Map(entries, _) => called(entries),
                };
                self.add(Node { line, value }, call, anchor);
            }
            Event::Alias(anchor) => {
                let node = self.anchored.get(&anchor).cloned().unwrap_or_default();
                self.put(node);
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
    }

    fn add(&mut self, node: Node, call: Option<String>, anchor: usize) {
        let line = node.line;
        let mut node = Arc::new(node);
        if let Some(name) = call {
            node = Arc::new(Node { line, value: Value::Call(name, node) });
        }
        // What has no anchor has the number 0.
        if anchor > 0 {
            self.anchored.insert(anchor, node.clone());
        }
        self.put(node);
    }

    fn put(&mut self, node: Arc<Node>) {
        match self.open.last_mut().map(|open| &mut open.parts) {
            // A second document is no part of a template.
            None => drop(self.root.get_or_insert(node)),
            Some(Parts::List(elements)) => elements.push(node),
            Some(Parts::Map(entries, name)) => match name.take() {
                None => *name = Some((node.text().unwrap_or_default().to_owned(), node.line)),
                Some((name, line)) => entries.push(Entry { name, line, value: node }),
            },
        }
    }
}

/// The function that a tag calls.
fn call(tag: Option<&Tag>) -> Option<String> {
    let tag = tag.filter(|tag| tag.handle == "!")?;
    Some(tag.suffix.clone())
}

/// The long form of a function is a map of one entry.
fn called(mut entries: Vec<Entry>) -> Value {
    let name = match entries.as_slice() {
        [only] if only.name == "Ref" || only.name == "Condition" => Some(only.name.clone()),
        // A loop stands among other names, even where it is alone.
        [only] => {
            only.name.strip_prefix("Fn::").filter(|name| !name.starts_with("ForEach")).map(str::to_owned)
        }
        _ => None,
    };
    match (name, entries.pop()) {
        (Some(name), Some(only)) => Value::Call(name, only.value),
        (_, last) => {
            entries.extend(last);
            Value::Map(entries)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(node: &Node, path: &[&str]) -> (String, usize) {
        let node = node.at(path).unwrap();
        (node.text().unwrap().to_owned(), node.line)
    }

    #[test]
    fn yaml_with_tags_anchors_and_lines() {
        let root = parse(
            "A: &one\n  B: 1 # a comment\n  C: {D: 'yes', E: [x, y]}\nF: *one\nG: !Sub a-${B}\nH: !GetAtt\n  - R\n  - Arn\nI:\n  Fn::Sub: x\nJ: !If [c, {Ref: P}, !Ref Q]\n",
        )
        .unwrap();
        assert_eq!(text(&root, &["A", "B"]), ("1".to_owned(), 2));
        assert_eq!(text(&root, &["F", "C", "D"]), ("yes".to_owned(), 3));
        assert_eq!(root.at(&["A", "C", "E"]).unwrap().elements().len(), 2);
        let called = |name: &str| match &root.get(name).unwrap().value {
            Value::Call(function, given) => (function.clone(), given.clone()),
            other => panic!("{name} is {other:?}"),
        };
        assert_eq!((called("G").0.as_str(), called("G").1.text()), ("Sub", Some("a-${B}")));
        assert_eq!((called("H").0.as_str(), called("H").1.elements().len()), ("GetAtt", 2));
        assert_eq!((called("I").0.as_str(), called("I").1.text()), ("Sub", Some("x")));
        let (_, given) = called("J");
        assert!(
            given.elements()[1..].iter().all(|it| matches!(&it.value, Value::Call(name, _) if name == "Ref"))
        );
        assert_eq!(root.entry("G").unwrap().line, 5);
    }

    #[test]
    fn json_with_lines() {
        let root =
            parse("{\n\t\"A\": {\n\t\t\"B\": true,\n\t\t\"C\": {\"Fn::GetAtt\": [\"R\", \"Arn\"]}\n\t}\n}\n")
                .unwrap();
        assert_eq!(text(&root, &["A", "B"]), ("true".to_owned(), 3));
        assert!(matches!(&root.at(&["A", "C"]).unwrap().value, Value::Call(name, _) if name == "GetAtt"));
    }

    #[test]
    fn what_is_no_yaml_says_where() {
        let error = parse("A: 1\nB: [1, 2\nC: }\n").unwrap_err();
        assert!(error.line >= 2, "{error}");
        assert_eq!(*parse("").unwrap(), Node::default());
    }
}
