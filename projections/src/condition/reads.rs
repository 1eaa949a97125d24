//! What of a change an expression reads: variables as a whole, or only attributes of them.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, LiteralValue, operators,
};

/// How much of one variable is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Read {
    /// Only these attributes, or none.
    Attributes(Vec<String>),
    /// The variable is used in a way that may reach all of it.
    All,
}

impl Read {
    /// Whether the variable is read at all.
    pub(super) fn any(&self) -> bool {
        *self != Self::Attributes(Vec::new())
    }

    fn attribute(&mut self, name: &str) {
        match self {
            Self::Attributes(known) if !known.iter().any(|known| known == name) => {
                known.push(name.to_owned())
            }
            Self::Attributes(_) | Self::All => {}
        }
    }
}

/// What an expression reads of some variables; any other variable is refused by its name.
pub(super) fn of<const N: usize>(expression: &Expr, variables: [&str; N]) -> Result<[Read; N], String> {
    let reads = [(); N].map(|()| Read::Attributes(Vec::new()));
    let mut walk = Walk { variables, reads, bound: Vec::new() };
    walk.expression(expression)?;
    Ok(walk.reads)
}

struct Walk<'e, const N: usize> {
    variables: [&'e str; N],
    reads: [Read; N],
    /// Names that a macro such as `exists` has given to what it goes through.
    bound: Vec<&'e str>,
}

impl<'e, const N: usize> Walk<'e, N> {
    fn expression(&mut self, expression: &'e Expr) -> Result<(), String> {
        match expression {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.whole(name),
            Expr::Select(select) => self.member(&select.operand.expr, Some(&select.field)),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(it) => self.comprehension(it),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.expression(&element.expr)),
            Expr::Map(map) => self.entries(&map.entries),
            Expr::Struct(it) => self.entries(&it.entries),
        }
    }

    fn whole(&mut self, name: &str) -> Result<(), String> {
        // What starts with `@` is the parser's own.
        if name.starts_with('@') || self.bound.contains(&name) {
            return Ok(());
        }
        match self.variables.iter().position(|known| *known == name) {
            Some(place) => self.reads[place] = Read::All,
            None => return Err(name.to_owned()),
        }
        Ok(())
    }

    /// `operand.field`, or `operand[…]` where the field is not known.
    fn member(&mut self, operand: &'e Expr, field: Option<&str>) -> Result<(), String> {
        let name = match operand {
            Expr::Ident(name) if !self.bound.contains(&name.as_str()) => name,
            _ => return self.expression(operand),
        };
        match (self.variables.iter().position(|known| known == name), field) {
            (Some(place), Some(field)) => self.reads[place].attribute(field),
            _ => return self.whole(name),
        }
        Ok(())
    }

    fn call(&mut self, call: &'e CallExpr) -> Result<(), String> {
        if let (operators::INDEX, [operand, index]) = (call.func_name.as_str(), call.args.as_slice()) {
            let field = match &index.expr {
                Expr::Literal(LiteralValue::String(field)) => Some(field.inner()),
                _ => None,
            };
            self.member(&operand.expr, field)?;
            return self.expression(&index.expr);
        }
        let parts = call.target.iter().map(|target| &**target).chain(&call.args);
        parts.into_iter().try_for_each(|part| self.expression(&part.expr))
    }

    fn comprehension(&mut self, it: &'e ComprehensionExpr) -> Result<(), String> {
        self.expression(&it.iter_range.expr)?;
        self.expression(&it.accu_init.expr)?;
        let outside = self.bound.len();
        self.bound.extend([it.iter_var.as_str(), it.accu_var.as_str()]);
        self.bound.extend(it.iter_var2.as_deref());
        for part in [&it.loop_cond, &it.loop_step, &it.result] {
            self.expression(&part.expr)?;
        }
        self.bound.truncate(outside);
        Ok(())
    }

    fn entries(&mut self, entries: &'e [IdedEntryExpr]) -> Result<(), String> {
        for entry in entries {
            match &entry.expr {
                EntryExpr::StructField(field) => self.expression(&field.value.expr)?,
                EntryExpr::MapEntry(entry) => {
                    self.expression(&entry.key.expr)?;
                    self.expression(&entry.value.expr)?;
                }
            }
        }
        Ok(())
    }
}
