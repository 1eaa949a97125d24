//! The `where` of a projection: a CEL expression over `new`, `old`, `keys` and `event`.

/// What of a change an expression reads.
mod reads;
/// From a change to CEL's values.
mod values;

use std::sync::{Arc, LazyLock};

use cel::common::ast::Expr;
use cel::{Context, Env, ExecutionError, Program, objects};

use self::reads::Read;
use crate::change::Change;
use crate::projection::Reject;

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// CEL cannot read it.
    #[error("`{text}` is not a CEL expression: {cause}")]
    Syntax {
        /// The expression.
        text: String,
        /// What the parser said.
        cause: String,
    },
    /// It names something that a change does not have.
    #[error("`{text}` speaks of `{variable}`: only `new`, `old`, `keys` and `event` are known")]
    Variable {
        /// The expression.
        text: String,
        /// The unknown name.
        variable: String,
    },
}

const VARIABLES: [&str; 4] = ["new", "old", "keys", "event"];

/// CEL's functions and types. Making them takes longer than an evaluation, so all conditions share them.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// Which image stands for `new` while the condition is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The change as it is.
    After,
    /// As things stood before the change: `new` is the old image.
    Before,
}

/// A compiled condition.
#[derive(Debug)]
pub struct Condition {
    text: String,
    program: Program,
    /// In the order of [`VARIABLES`]. Only what is read is decoded.
    reads: [Read; 4],
}

impl Condition {
    /// Compiles an expression and checks the names it uses.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        let program = Program::compile(text).map_err(|error| ConditionError::Syntax {
            text: text.to_owned(),
            cause: first_line(&error.to_string()),
        })?;
        let reads = reads::of(&program.expression().expr, VARIABLES)
            .map_err(|variable| ConditionError::Variable { text: text.to_owned(), variable })?;
        Ok(Self { text: text.to_owned(), program, reads })
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What was read, for those who put it in other words.
    pub(crate) fn expression(&self) -> &Expr {
        &self.program.expression().expr
    }

    /// Whether it reads the image from after the change.
    pub fn reads_new(&self) -> bool {
        self.reads[0].any()
    }

    /// Whether it reads the image from before the change.
    pub fn reads_old(&self) -> bool {
        self.reads[1].any()
    }

    /// Whether it reads an image at all.
    pub fn reads_images(&self) -> bool {
        self.reads[0].any() || self.reads[1].any()
    }

    /// Whether it reads what happened, as opposed to what the item is.
    pub fn reads_event(&self) -> bool {
        self.reads[3].any()
    }

    /// Evaluates the condition. An attribute that is missing is an error unless `has(new.x)` asked first.
    pub fn holds(&self, change: &Change, side: Side) -> Result<bool, Reject> {
        let mut context = Context::with_env(ENVIRONMENT.clone());
        let (new, old) = match side {
            Side::After => (change.new.as_ref(), change.old.as_ref()),
            Side::Before => (change.old.as_ref(), None),
        };
        for (name, read) in VARIABLES.into_iter().zip(&self.reads) {
            if read.any() {
                let value = match name {
                    "new" => values::image(new, read)?,
                    "old" => values::image(old, read)?,
                    "keys" => values::image(Some(&change.keys), read)?,
                    _ => values::event(change),
                };
                context.add_variable_as_val(name, value);
            }
        }
        match self.program.execute(&context) {
            Ok(objects::Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(self.fails(&format!("gives {} and not true or false", other.type_of()))),
            Err(error) => {
                let advice = match error {
                    ExecutionError::NoSuchKey(_) => "; test with has() what may be missing",
                    _ => "; whole numbers are int and others double: write double(…) to calculate with both",
                };
                Err(self.fails(&format!("{}{advice}", valueless(&error))))
            }
        }
    }

    fn fails(&self, why: &str) -> Reject {
        Reject::new(format!("where `{}`: {why}", self.text))
    }
}

/// The parser draws its errors over several lines and goes on after the first; one line and the first tell enough.
fn first_line(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    match line.strip_prefix("ERROR: <input>:").and_then(|line| line.split_once(": ")) {
        Some((place, what)) => format!("{what} (line:column {place})"),
        None => line.to_owned(),
    }
}

/// What went wrong without the values it went wrong with: a reject is logged, and an item's values belong in no log.
fn valueless(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(_)
        | ExecutionError::NoSuchOverload(_)
        | ExecutionError::UndeclaredReference(_)
        | ExecutionError::InvalidArgumentCount { .. }
        | ExecutionError::MissingArgumentOrTarget => error.to_string(),
        ExecutionError::ValuesNotComparable(a, b) => {
            format!("{} cannot be compared to {}", a.type_of(), b.type_of())
        }
        ExecutionError::UnsupportedBinaryOperator(operator, a, b) => {
            format!("operator `{operator}` is not for {} and {}", a.type_of(), b.type_of())
        }
        ExecutionError::UnexpectedType { want, .. } => format!("a value is not of type {want}"),
        ExecutionError::FunctionError { function, .. } => format!("function `{function}` failed"),
        ExecutionError::Overflow(operator, ..) => format!("operator `{operator}` overflows"),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".to_owned()
        }
        ExecutionError::IndexOutOfBounds(_) => "a list has no such index".to_owned(),
        // The enum is open, and what it may add can hold values as well.
        _ => "a value is of a type that the expression cannot use".to_owned(),
    }
}
