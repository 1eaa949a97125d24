//! From CEL to conditions that patterns can say. What comes out holds wherever the expression does, or fails: an expression
//! that fails makes a letter.

use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use super::allowed::{Allowed, Matcher};
use super::formula::{Formula, Leaf};

/// The types whose values have no parts: of the others, no pattern tells whether they are there.
const SCALARS: [&str; 5] = ["S", "N", "BOOL", "NULL", "B"];

/// What begins a reference that CloudFormation resolves wherever it stands in a template, also within a pattern.
const RESOLVED: &str = "{{resolve:";

/// An expression as patterns can say it, and why that is everything, if it is.
pub(super) fn widened(expression: &Expr) -> (Formula, String) {
    let mut widen = Widen { why: None };
    let formula = widen.truth(expression, true);
    let why = widen.why.unwrap_or_else(|| "is true of every item, or has too many alternatives".to_owned());
    (formula, format!("`where` {why}"))
}

struct Widen {
    /// The first thing that no pattern can say.
    why: Option<String>,
}

impl Widen {
    /// Where an expression is `wanted`, or fails.
    fn truth(&mut self, expression: &Expr, wanted: bool) -> Formula {
        if let Some(path) = path(expression) {
            return may_be(&path, "BOOL", Allowed::only([Matcher::Bool(wanted)]));
        }
        match expression {
            Expr::Literal(LiteralValue::Boolean(literal)) => match *literal.inner() == wanted {
                true => Formula::always(),
                false => Formula::never(),
            },
            Expr::Select(select) if select.test => match (variable(&select.operand.expr), wanted) {
                // An attribute of any type is there: no pattern says that of lists and maps.
                (Some(_), true) => self.unsaid("asks whether an attribute is there"),
                (Some(mut parent), false) => {
                    if !is_plain(&select.field) {
                        return self.unsaid("names an attribute with special characters");
                    }
                    parent.names.push(select.field.clone());
                    let none = Allowed::only([]);
                    Formula::all(SCALARS.map(|kind| (parent.leaf(kind), none.clone())))
                }
                (None, _) => self.unsaid("asks for what is no attribute of the item"),
            },
            Expr::Call(call) => self.call(call, wanted),
            Expr::Comprehension(_) => self.unsaid("goes through a list"),
            Expr::Ident(name) | Expr::Select(cel::common::ast::SelectExpr { field: name, .. }) => {
                self.unsaid(&format!("reads `{name}` in a way that no pattern can"))
            }
            Expr::Literal(_) | Expr::List(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                self.unsaid("is no comparison")
            }
        }
    }

    fn call(&mut self, call: &CallExpr, wanted: bool) -> Formula {
        match (call.func_name.as_str(), &call.target, call.args.as_slice()) {
            (operators::LOGICAL_NOT, None, [only]) => self.truth(&only.expr, !wanted),
            (operators::LOGICAL_AND, None, [one, other]) => {
                let (one, other) = (self.truth(&one.expr, wanted), self.truth(&other.expr, wanted));
                if wanted { one.and(other) } else { one.or(other) }
            }
            (operators::LOGICAL_OR, None, [one, other]) => {
                let (one, other) = (self.truth(&one.expr, wanted), self.truth(&other.expr, wanted));
                if wanted { one.or(other) } else { one.and(other) }
            }
            (operators::EQUALS, None, [one, other]) => self.equals(&one.expr, &other.expr, wanted),
            (operators::NOT_EQUALS, None, [one, other]) => self.equals(&one.expr, &other.expr, !wanted),
            (operators::IN, None, [one, list]) => self.is_in(&one.expr, &list.expr, wanted),
            ("startsWith", Some(target), [argument]) if wanted => {
                self.affix(&target.expr, &argument.expr, Matcher::Prefix)
            }
            ("endsWith", Some(target), [argument]) if wanted => {
                self.affix(&target.expr, &argument.expr, Matcher::Suffix)
            }
            (
                operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS,
                ..,
            ) => self.unsaid("compares by order, which patterns can do with numbers of JSON only"),
            (operators::INDEX, None, _) => self.unsaid("reads an element that no pattern can name"),
            (operators::CONDITIONAL, ..) => self.unsaid("chooses by `?:`"),
            (name, ..) => self.unsaid(&format!("uses `{name}`")),
        }
    }

    fn equals(&mut self, one: &Expr, other: &Expr, wanted: bool) -> Formula {
        let (attribute, literal) = match (path(one), path(other)) {
            (Some(attribute), None) => (attribute, other),
            (None, Some(attribute)) => (attribute, one),
            (Some(_), Some(_)) => return self.unsaid("compares two attributes"),
            (None, None) => return self.unsaid("compares what is no attribute of the item"),
        };
        match literal {
            Expr::Literal(LiteralValue::String(text)) if is_resolved(text.inner()) => self.resolved(),
            Expr::Literal(LiteralValue::String(text)) => {
                let text = text.inner().to_owned();
                let allowed = match wanted {
                    true => Allowed::only([Matcher::Text(text)]),
                    false => Allowed::but([text]),
                };
                may_be(&attribute, "S", allowed)
            }
            Expr::Literal(LiteralValue::Boolean(bool)) => {
                may_be(&attribute, "BOOL", Allowed::only([Matcher::Bool(*bool.inner() == wanted)]))
            }
            // DynamoDB may write one number in several ways, and patterns compare its digits.
            Expr::Literal(LiteralValue::Int(_) | LiteralValue::UInt(_) | LiteralValue::Double(_)) => {
                self.unsaid("compares a number, which patterns see as text")
            }
            _ => self.unsaid("compares with what no pattern can name"),
        }
    }

    fn is_in(&mut self, one: &Expr, list: &Expr, wanted: bool) -> Formula {
        let (Some(attribute), Expr::List(list)) = (path(one), list) else {
            return self.unsaid("looks into a list of the item");
        };
        let text = |element: &Expr| match element {
            Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
            _ => None,
        };
        let all: Option<Vec<String>> = list.elements.iter().map(|element| text(&element.expr)).collect();
        match (all, wanted) {
            (Some(all), _) if all.iter().any(|text| is_resolved(text)) => self.resolved(),
            (Some(all), true) => may_be(&attribute, "S", Allowed::only(all.into_iter().map(Matcher::Text))),
            (Some(all), false) => may_be(&attribute, "S", Allowed::but(all)),
            (None, _) => self.unsaid("looks into a list that is not of texts alone"),
        }
    }

    fn affix(&mut self, target: &Expr, argument: &Expr, matcher: fn(String) -> Matcher) -> Formula {
        match (path(target), argument) {
            (_, Expr::Literal(LiteralValue::String(text))) if is_resolved(text.inner()) => self.resolved(),
            (Some(attribute), Expr::Literal(LiteralValue::String(text))) if !text.inner().is_empty() => {
                may_be(&attribute, "S", Allowed::only([matcher(text.inner().to_owned())]))
            }
            _ => {
                self.unsaid("compares the beginning or the end of what is no attribute with what is no text")
            }
        }
    }

    fn resolved(&mut self) -> Formula {
        self.unsaid(&format!(
            "has `{RESOLVED}` in a text, which CloudFormation would put something else in for"
        ))
    }

    /// What no pattern says may be so.
    fn unsaid(&mut self, why: &str) -> Formula {
        self.why.get_or_insert_with(|| why.to_owned());
        Formula::always()
    }
}

fn may_be(attribute: &Attribute, kind: &'static str, allowed: Allowed) -> Formula {
    Formula::all([(attribute.leaf(kind), allowed)])
}

fn is_resolved(text: &str) -> bool {
    text.contains(RESOLVED)
}

/// An attribute of the item, or of its key.
struct Attribute {
    is_key: bool,
    names: Vec<String>,
}

impl Attribute {
    fn leaf(&self, kind: &'static str) -> Leaf {
        Leaf { is_key: self.is_key, path: self.names.clone(), kind }
    }
}

/// `new.a.b`, `keys.a` or `new["a"]`; the variable alone is none.
fn path(expression: &Expr) -> Option<Attribute> {
    let (operand, field) = match expression {
        Expr::Select(select) if !select.test => (&select.operand.expr, select.field.as_str()),
        Expr::Call(CallExpr { func_name, target: None, args }) if func_name == operators::INDEX => {
            match args.as_slice() {
                [operand, index] => match &index.expr {
                    Expr::Literal(LiteralValue::String(field)) => (&operand.expr, field.inner()),
                    _ => return None,
                },
                _ => return None,
            }
        }
        _ => return None,
    };
    let mut attribute = variable(operand)?;
    attribute.names.push(is_plain(field).then(|| field.to_owned())?);
    Some(attribute)
}

/// The same, or the variable alone.
fn variable(expression: &Expr) -> Option<Attribute> {
    match expression {
        Expr::Ident(variable) if variable == "new" => Some(Attribute { is_key: false, names: Vec::new() }),
        Expr::Ident(variable) if variable == "keys" => Some(Attribute { is_key: true, names: Vec::new() }),
        other => path(other),
    }
}

/// In a pattern, a name with a dot could be a path, and one with a dollar an operator.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}
