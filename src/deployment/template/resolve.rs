//! What intrinsic functions give, as far as that is known before there is a stack.

use super::node::{Node, Value};
use super::{ACCOUNT, REGION, Resource, Template};

/// What a part of a template stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// This text.
    Text(String),
    /// A resource of the template, or an attribute of it.
    Of {
        /// The resource's logical id.
        resource: String,
        /// The attribute; none is what `!Ref` gives.
        attribute: Option<String>,
    },
    /// Only a deployment knows.
    Unknown,
}

impl Template {
    /// What a part stands for.
    pub(crate) fn known(&self, node: &Node) -> Known {
        match &node.value {
            Value::Scalar(text) => Known::Text(text.clone()),
            Value::Call(function, given) => self.called(function, given),
            Value::None | Value::List(_) | Value::Map(_) => Known::Unknown,
        }
    }

    /// The text that a part stands for, if it is one that is known.
    pub(crate) fn known_text(&self, node: &Node) -> Option<String> {
        self.text_of(&self.known(node))
    }

    fn text_of(&self, known: &Known) -> Option<String> {
        match known {
            Known::Text(text) => Some(text.clone()),
            Known::Of { resource, attribute } => {
                self.attribute(self.resource(resource)?, attribute.as_deref())
            }
            Known::Unknown => None,
        }
    }

    fn called(&self, function: &str, given: &Node) -> Known {
        match (function, given.elements()) {
            ("Ref", _) => given.text().map_or(Known::Unknown, |name| self.referred(name)),
            ("GetAtt", [resource, attribute]) => match (resource.text(), attribute.text()) {
                (Some(resource), Some(attribute)) => of(resource, Some(attribute)),
                _ => Known::Unknown,
            },
            ("GetAtt", _) => match given.text().and_then(|text| text.split_once('.')) {
                Some((resource, attribute)) => of(resource, Some(attribute)),
                None => Known::Unknown,
            },
            ("Sub", [text, variables]) => self.substituted(text.text(), Some(variables)),
            ("Sub", _) => self.substituted(given.text(), None),
            ("Join", [between, parts]) => {
                let parts: Option<Vec<String>> =
                    parts.elements().iter().map(|part| self.known_text(part)).collect();
                match (between.text(), parts) {
                    (Some(between), Some(parts)) => Known::Text(parts.join(between)),
                    _ => Known::Unknown,
                }
            }
            ("If", [name, yes, no]) => match name.text().and_then(|name| self.condition(name)) {
                Some(holds) => self.known(if holds { yes } else { no }),
                None => Known::Unknown,
            },
            ("FindInMap", [map, first, second]) => {
                let keys = [map, first, second].map(|key| self.known_text(key));
                let found = match &keys {
                    [Some(map), Some(first), Some(second)] => self.root.at(&["Mappings", map, first, second]),
                    _ => None,
                };
                found.map_or(Known::Unknown, |found| self.known(found))
            }
            _ => Known::Unknown,
        }
    }

    fn referred(&self, name: &str) -> Known {
        match name {
            "AWS::Region" => Known::Text(REGION.to_owned()),
            "AWS::AccountId" => Known::Text(ACCOUNT.to_owned()),
            "AWS::Partition" => Known::Text("aws".to_owned()),
            "AWS::URLSuffix" => Known::Text("amazonaws.com".to_owned()),
            _ => match self.parameters.get(name) {
                Some(Some(value)) => Known::Text(value.clone()),
                Some(None) => Known::Unknown,
                None => of(name, None),
            },
        }
    }

    fn substituted(&self, text: Option<&str>, variables: Option<&Node>) -> Known {
        let Some(text) = text else { return Known::Unknown };
        let value = |name: &str| {
            let own = variables.and_then(|variables| variables.get(name)).map(|value| self.known(value));
            own.unwrap_or_else(|| match name.split_once('.') {
                Some((resource, attribute)) => of(resource, Some(attribute)),
                None => self.referred(name),
            })
        };
        // A reference alone stays one: what has no name yet is known by it.
        let alone = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        if let Some(name) = alone.filter(|name| !name.contains(['{', '}', '!'])) {
            return value(name);
        }
        let mut substituted = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else { return Known::Unknown };
            substituted.push_str(before);
            match name.strip_prefix('!') {
                Some(literal) => substituted.push_str(&format!("${{{literal}}}")),
                None => match self.text_of(&value(name)) {
                    Some(known) => substituted.push_str(&known),
                    None => return Known::Unknown,
                },
            }
            rest = after;
        }
        substituted.push_str(rest);
        Known::Text(substituted)
    }

    /// Whether a condition of the template holds, as far as its parameters tell.
    pub(super) fn condition(&self, name: &str) -> Option<bool> {
        self.holds(self.root.at(&["Conditions", name])?, 0)
    }

    fn holds(&self, node: &Node, depth: usize) -> Option<bool> {
        // A condition that names itself holds for nobody.
        if depth > 20 {
            return None;
        }
        let Value::Call(function, given) = &node.value else { return None };
        let all = || given.elements().iter().map(|part| self.holds(part, depth + 1));
        match (function.as_str(), given.elements()) {
            ("Equals", [one, other]) => Some(self.known_text(one)? == self.known_text(other)?),
            ("Not", [only]) => self.holds(only, depth + 1).map(|holds| !holds),
            ("And", _) => all().try_fold(true, |so_far, holds| Some(so_far && holds?)),
            ("Or", _) => all().try_fold(false, |so_far, holds| Some(so_far || holds?)),
            ("Condition", _) => self.holds(self.root.at(&["Conditions", given.text()?])?, depth + 1),
            _ => None,
        }
    }

    /// What `!Ref` or `!GetAtt` gives of a resource whose name is known.
    fn attribute(&self, resource: &Resource, attribute: Option<&str>) -> Option<String> {
        let named = |property: &str| self.known_text(resource.properties.get(property)?);
        let arn = |service: &str, name: String| format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{name}");
        match (resource.kind.as_str(), attribute) {
            (
                "AWS::DynamoDB::Table" | "AWS::DynamoDB::GlobalTable" | "AWS::Serverless::SimpleTable",
                attribute,
            ) => {
                let name = named("TableName")?;
                match attribute {
                    None => Some(name),
                    Some("Arn") => Some(arn("dynamodb", format!("table/{name}"))),
                    Some(_) => None,
                }
            }
            ("AWS::SQS::Queue", attribute) => {
                let name = named("QueueName")?;
                match attribute {
                    None | Some("QueueUrl") => {
                        Some(format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"))
                    }
                    Some("Arn") => Some(arn("sqs", name)),
                    Some("QueueName") => Some(name),
                    Some(_) => None,
                }
            }
            ("AWS::SNS::Topic", None | Some("TopicArn")) => Some(arn("sns", named("TopicName")?)),
            ("AWS::SNS::Topic", Some("TopicName")) => named("TopicName"),
            ("AWS::S3::Bucket", None) => named("BucketName"),
            ("AWS::S3::Bucket", Some("Arn")) => Some(format!("arn:aws:s3:::{}", named("BucketName")?)),
            ("AWS::Serverless::Function" | "AWS::Lambda::Function", None) => named("FunctionName"),
            _ => None,
        }
    }
}

fn of(resource: &str, attribute: Option<&str>) -> Known {
    Known::Of { resource: resource.to_owned(), attribute: attribute.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = r#"
Parameters:
  Stage: {Type: String, Default: dev}
  Secret: {Type: String}
Mappings:
  Sizes: {dev: {queue: small}, prod: {queue: large}}
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
  IsDev: !Not [{Condition: IsProd}]
  Both: !And [!Condition IsDev, !Condition IsProd]
  Either: !Or [!Condition IsDev, !Condition IsProd]
  Itself: !Not [!Condition Itself]
Resources:
  Table: {Type: AWS::DynamoDB::Table, Properties: {TableName: !Sub "${Stage}-t"}}
  Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: q}}
  Topic: {Type: AWS::SNS::Topic, Properties: {TopicName: t}}
  Nameless: {Type: AWS::DynamoDB::Table, Properties: {}}
  OnlyInProd: {Type: AWS::SQS::Queue, Condition: IsProd}
  Values:
    Type: Test
    Properties:
      a: !Sub "${Stage}-${AWS::Region}-${!literal}"
      b: !Sub ["${x}-${Stage}", {x: !Ref Stage}]
      c: !Join ["/", [!Ref Stage, b, !GetAtt Queue.QueueName]]
      d: !FindInMap [Sizes, !Ref Stage, queue]
      e: !If [IsProd, yes, !If [Either, dev, no]]
      f: !GetAtt [Table, Arn]
      g: !Ref Queue
      h: !Sub "${Queue.Arn}"
      i: !Ref Topic
      j: {"Fn::Sub": "${Table.Arn}/index/i"}
      k: !Ref Secret
      l: !GetAtt Nameless.Arn
      m: !ImportValue x
      n: !If [Itself, yes, no]
      o: !If [Both, yes, no]
      p: !Sub "${Secret}-x"
"#;

    #[test]
    fn what_functions_give() {
        for (stage, expected) in [
            (
                "dev",
                [
                    "a=dev-us-east-1-${literal}",
                    "b=dev-dev",
                    "c=dev/b/q",
                    "d=small",
                    "e=dev",
                    "f=arn:aws:dynamodb:us-east-1:123456789012:table/dev-t",
                    "g=https://sqs.us-east-1.amazonaws.com/123456789012/q",
                    "h=arn:aws:sqs:us-east-1:123456789012:q",
                    "i=arn:aws:sns:us-east-1:123456789012:t",
                    "j=arn:aws:dynamodb:us-east-1:123456789012:table/dev-t/index/i",
                    "k=?",
                    "l=?",
                    "m=?",
                    "n=?",
                    "o=no",
                    "p=?",
                ],
            ),
            (
                "prod",
                [
                    "a=prod-us-east-1-${literal}",
                    "b=prod-prod",
                    "c=prod/b/q",
                    "d=large",
                    "e=yes",
                    "f=arn:aws:dynamodb:us-east-1:123456789012:table/prod-t",
                    "g=https://sqs.us-east-1.amazonaws.com/123456789012/q",
                    "h=arn:aws:sqs:us-east-1:123456789012:q",
                    "i=arn:aws:sns:us-east-1:123456789012:t",
                    "j=arn:aws:dynamodb:us-east-1:123456789012:table/prod-t/index/i",
                    "k=?",
                    "l=?",
                    "m=?",
                    "n=?",
                    "o=no",
                    "p=?",
                ],
            ),
        ] {
            let given = [("Stage".to_owned(), stage.to_owned())];
            let template = Template::parse("t.yaml", TEMPLATE, &given).unwrap();
            let values = &template.resource("Values").unwrap().properties;
            let told = values.entries().iter().map(|entry| {
                let text = template.known_text(&entry.value);
                format!("{}={}", entry.name, text.unwrap_or_else(|| "?".to_owned()))
            });
            assert_eq!(told.collect::<Vec<_>>(), expected);
            assert_eq!(template.resource("OnlyInProd").is_some(), stage == "prod");
            // A resource without a name is known all the same.
            let nameless = template.known(values.get("l").unwrap());
            assert_eq!(nameless, of("Nameless", Some("Arn")));
        }
    }
}
