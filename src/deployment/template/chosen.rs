//! What a template says for its parameters: of `!If` the branch that is taken, and nothing of what `AWS::NoValue` takes out.

use std::collections::HashMap;
use std::sync::Arc;

use super::Template;
use super::node::{Entry, Node, Value};

/// What was made of each part so far: an alias stands for one part in many places.
type Made = HashMap<*const Node, Option<Arc<Node>>>;

impl Template {
    /// The same with every choice made that can be; where only a deployment can, the call stays.
    pub(super) fn chosen(&self) -> Arc<Node> {
        self.choose(&self.root, &mut Made::new()).unwrap_or_default()
    }

    /// None where there is nothing.
    fn choose(&self, node: &Arc<Node>, made: &mut Made) -> Option<Arc<Node>> {
        if let Some(known) = made.get(&Arc::as_ptr(node)) {
            return known.clone();
        }
        let of = |value: Value| Some(Arc::new(Node { line: node.line, value }));
        let chosen = match &node.value {
            Value::None | Value::Scalar(_) => Some(node.clone()),
            Value::List(elements) => {
                of(Value::List(elements.iter().filter_map(|element| self.choose(element, made)).collect()))
            }
            Value::Map(entries) => {
                let entry = |entry: &Entry| {
                    let value = self.choose(&entry.value, made)?;
                    Some(Entry { name: entry.name.clone(), line: entry.line, value })
                };
                of(Value::Map(entries.iter().filter_map(entry).collect()))
            }
            Value::Call(function, given) => match (function.as_str(), given.elements()) {
                ("Ref", _) if given.text() == Some("AWS::NoValue") => None,
                ("If", [name, yes, no]) => match name.text().and_then(|name| self.condition(name)) {
                    Some(holds) => self.choose(if holds { yes } else { no }, made),
                    None => Some(node.clone()),
                },
                _ => {
                    let given = self.choose(given, made).unwrap_or_default();
                    of(Value::Call(function.clone(), given))
                }
            },
        };
        made.insert(Arc::as_ptr(node), chosen.clone());
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "
Parameters:
  Stage: {Type: String, Default: dev}
  Secret: {Type: String}
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
  Told: !Equals [!Ref Secret, told]
Resources:
  Values:
    Type: Test
    Properties:
      a: !If [IsProd, {x: [1]}, {x: [2, !If [IsProd, 3, !Ref AWS::NoValue]]}]
      b: !If [IsProd, {y: 1}, !Ref AWS::NoValue]
      c: !If [Told, {z: 1}, !Ref AWS::NoValue]
      d: {Fn::Join: [\"-\", [a, {Fn::If: [IsProd, b, {Ref: AWS::NoValue}]}]]}
";

    #[test]
    fn a_choice_is_made_where_it_is_known() {
        for (stage, elements, there, joined) in [("dev", 1, false, "a"), ("prod", 1, true, "a-b")] {
            let given = [("Stage".to_owned(), stage.to_owned())];
            let template = Template::parse("t.yaml", TEMPLATE, &given).unwrap();
            let values = &template.resource("Values").unwrap().properties;
            assert_eq!(values.at(&["a", "x"]).unwrap().elements().len(), elements, "{stage}");
            assert_eq!(values.at(&["b", "y"]).is_some(), there, "{stage}");
            assert!(values.hides(&["c", "z"]) && !values.hides(&["b", "y"]), "{stage}");
            assert_eq!(template.known_text(values.get("d").unwrap()).as_deref(), Some(joined));
        }
    }

    #[test]
    fn parts_that_stand_in_many_places_are_looked_at_once() {
        let mut text = "Resources: {A: {Type: T}}\nx0: &x0 [a]\n".to_owned();
        for number in 1..40 {
            let before = format!("*x{}", number - 1);
            text.push_str(&format!("x{number}: &x{number} [{before}, {before}, {before}]\n"));
        }
        assert!(Template::parse("t.yaml", &text, &[]).is_ok());
    }
}
