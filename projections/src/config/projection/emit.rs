//! `kind = "emit"`, validated.

use super::super::error::Section;
use super::super::raw::RawEmit;
use super::super::source::topic_arn;
use super::super::templates::names;
use super::Base;
use crate::kinds::emit::Emit;

pub(super) fn build(raw: RawEmit, base: Base, section: &mut Section<'_>) -> Option<Emit> {
    let topic = raw.topic.required(section, "topic", "give the ARN of the SNS topic to publish to");
    let topic = topic.and_then(|at| topic_arn(at, section));
    let include = names(raw.include, section, "include");
    let (name, selection) = base?;
    Some(Emit { name, selection, topic: topic?, include: include? })
}
