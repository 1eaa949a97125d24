//! How a config is deployed: documents that people paste into templates, and templates that are compared with a config.

/// An ordered document, as JSON or as the YAML of a template.
pub(crate) mod document;
/// What may surprise in a template that deploys a config.
pub(crate) mod lint;
/// The event source mapping of each source.
pub(crate) mod mapping;
/// A template of CloudFormation or SAM.
pub(crate) mod template;
