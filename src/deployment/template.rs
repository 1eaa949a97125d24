//! A template of CloudFormation or SAM, in YAML or JSON, as far as it tells what a stack will be.

/// Which branch is taken of what a template leaves open.
mod chosen;
/// Parts of a file with their lines.
pub(crate) mod node;
/// What intrinsic functions give, as far as that is known before there is a stack.
mod resolve;
/// Resources that Millstream has to do with.
mod resources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::node::{Entry, Node, SyntaxError};

pub(crate) use self::resolve::Known;
pub(crate) use self::resources::{Function, Mapping, Origin, Queue, Subscription, Table};

/// Where a stack is taken to be, for comparing names: every template knows only its own place.
pub(crate) const REGION: &str = "us-east-1";
/// Whose the stack is taken to be.
pub(crate) const ACCOUNT: &str = "123456789012";

/// Why a template cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    /// The file cannot be read.
    #[error("cannot read the template {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is neither YAML nor JSON.
    #[error("{file}:{}: is neither YAML nor JSON: {}", source.line, source.what)]
    Syntax {
        /// Which file.
        file: String,
        /// Where, and what is wrong.
        source: SyntaxError,
    },
    /// It is something else.
    #[error("{file}:{line}: is no template: it has no `Resources`")]
    NoResources {
        /// Which file.
        file: String,
        /// Where.
        line: usize,
    },
    /// A parameter was given that it does not have.
    #[error("{file}: has no parameter `{name}`; it has {known}")]
    NoParameter {
        /// Which file.
        file: String,
        /// As it was given.
        name: String,
        /// Those that it has.
        known: String,
    },
}

/// One resource.
#[derive(Debug)]
pub(crate) struct Resource {
    /// Its logical id.
    pub(crate) name: String,
    /// Where it stands.
    pub(crate) line: usize,
    /// As `AWS::DynamoDB::Table`.
    pub(crate) kind: String,
    /// What it is made of.
    pub(crate) properties: Arc<Node>,
}

/// A template that was read.
#[derive(Debug)]
pub(crate) struct Template {
    /// As the caller named it.
    pub(crate) file: String,
    root: Arc<Node>,
    /// What parameters stand for; none where only a deployment knows.
    parameters: BTreeMap<String, Option<String>>,
    resources: Vec<Resource>,
}

impl Template {
    /// Reads a template. `given` stands for parameters in place of their defaults.
    pub(crate) fn read(path: &Path, given: &[(String, String)]) -> Result<Self, TemplateError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TemplateError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&path.display().to_string(), &text, given)
    }

    /// Reads a template's text.
    pub(crate) fn parse(file: &str, text: &str, given: &[(String, String)]) -> Result<Self, TemplateError> {
        let file = file.to_owned();
        let root = match node::parse(text) {
            Ok(root) => root,
            Err(source) => return Err(TemplateError::Syntax { file, source }),
        };
        if root.get("Resources").is_none_or(|resources| resources.entries().is_empty()) {
            return Err(TemplateError::NoResources { file, line: root.line.max(1) });
        }
        let mut parameters = defaults(&root);
        for (name, value) in given {
            match parameters.get_mut(name) {
                Some(known) => *known = Some(value.clone()),
                None => {
                    let known = parameters.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>();
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    return Err(TemplateError::NoParameter { file, name: name.clone(), known });
                }
            }
        }
        let mut template = Self { file, root, parameters, resources: Vec::new() };
        template.root = template.chosen();
        template.resources = template.all_resources();
        Ok(template)
    }

    /// The resources that a stack of these parameters has.
    fn all_resources(&self) -> Vec<Resource> {
        let entries = self.root.get("Resources").map(|resources| resources.entries()).unwrap_or_default();
        let mut resources = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(kind) = entry.value.get("Type").and_then(|kind| kind.text()) else { continue };
            let condition = entry.value.get("Condition").and_then(|condition| condition.text());
            if condition.and_then(|name| self.condition(name)) == Some(false) {
                continue;
            }
            resources.push(Resource {
                name: entry.name.clone(),
                line: entry.line,
                kind: kind.to_owned(),
                properties: entry.value.get("Properties").cloned().unwrap_or_default(),
            });
        }
        resources
    }

    /// All resources of a kind.
    pub(crate) fn of_kind<'t>(&'t self, kind: &'t str) -> impl Iterator<Item = &'t Resource> {
        self.resources.iter().filter(move |resource| resource.kind == kind)
    }

    /// A resource by its logical id.
    pub(crate) fn resource(&self, name: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.name == name)
    }

    /// The environment that the template gives its functions: what a config's `${…}` will be. None where only a deployment
    /// knows.
    pub(crate) fn environment(&self) -> BTreeMap<String, Option<String>> {
        let mut environment = BTreeMap::new();
        let globals = self.root.at(&["Globals", "Function", "Environment", "Variables"]);
        let own = self.functions().map(|function| function.properties.at(&["Environment", "Variables"]));
        for variables in std::iter::once(globals).chain(own).flatten() {
            for entry in variables.entries() {
                let told = environment.entry(entry.name.clone()).or_insert(None);
                *told = told.take().or_else(|| self.known_text(&entry.value));
            }
        }
        environment
    }

    /// The loops among the resources: what they make is known when the template is deployed.
    pub(crate) fn loops(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.root.get("Resources").map(|resources| resources.entries()).unwrap_or_default();
        entries.iter().filter(|entry| entry.name.starts_with("Fn::ForEach"))
    }
}

fn defaults(root: &Node) -> BTreeMap<String, Option<String>> {
    let entries = root.get("Parameters").map(|parameters| parameters.entries()).unwrap_or_default();
    let default = |value: &Node| value.get("Default").and_then(|default| default.text()).map(str::to_owned);
    entries.iter().map(|entry| (entry.name.clone(), default(&entry.value))).collect()
}
