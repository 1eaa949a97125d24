//! Stages: each has a stack of its own. A stack that is given another stage would replace everything in it that has a name.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::runbook::commands;
use crate::workbench::{blocks, text, yaml};

const SETTINGS: &str = "infra/samconfig.toml";
const PAGES: [&str; 3] = ["infra/RUNBOOK.md", "infra/README.md", "README.md"];

/// What is said of the stage among words of a command, or of a section.
fn stage_in(words: &str) -> Option<&str> {
    words.split_whitespace().find_map(|word| word.strip_prefix("Stage="))
}

/// What stands behind a flag.
fn told<'a>(command: &'a str, flag: &str) -> Option<&'a str> {
    command.split_whitespace().skip_while(|word| *word != flag).nth(1)
}

/// The settings of `sam deploy` whose stack is not that of their stage, or that differ in more than the stage.
fn strange_sections(settings: &str) -> Vec<String> {
    let sections: Table = settings.parse().expect("TOML");
    let (mut found, mut others) = (Vec::new(), BTreeSet::new());
    for (name, section) in sections.iter().filter(|(_, section)| section.is_table()) {
        let mut said = section["deploy"]["parameters"].as_table().expect("settings").clone();
        let mut take = |key: &str| said.remove(key).as_ref().and_then(Value::as_str).map(str::to_owned);
        let (stack, parameters) = (take("stack_name"), take("parameter_overrides").unwrap_or_default());
        let stage = stage_in(&parameters).unwrap_or("?");
        let is_named = name == stage
            || name == "default" && yaml("infra/template.yaml")["Parameters"]["Stage"]["Default"] == stage;
        if !is_named || stack != Some(format!("millstream-{stage}")) {
            found.push(format!("{name}: stage {stage} in {stack:?}"));
        }
        others.insert(said.to_string());
    }
    assert_eq!(others.len(), 1, "{others:?}");
    found
}

/// Whether a command deploys a stage to its own stack. What names none of both is the default section's.
fn is_at_home(command: &str) -> bool {
    let stage = stage_in(command);
    match (told(command, "--stack-name"), told(command, "--config-env")) {
        (Some(stack), None) => stage.is_some_and(|stage| stack == format!("millstream-{stage}")),
        (None, Some(section)) => stage == Some(section) || !command.contains("--parameter-overrides"),
        (None, None) => stage.is_none(),
        (Some(_), Some(_)) => false,
    }
}

#[test]
fn each_section_deploys_a_stage_to_a_stack_of_its_own() {
    let settings = text(SETTINGS);
    assert_eq!(strange_sections(&settings), [""; 0]);
    assert!(
        settings.contains("[prod.deploy.parameters]") && settings.contains("[default.deploy.parameters]")
    );
    for (from, to) in [("millstream-prod\"", "millstream-dev\""), ("\"Stage=prod\"", "\"Stage=dev\"")] {
        let [_] = &strange_sections(&settings.replace(from, to))[..] else { panic!("{from} is to be found") };
    }
}

#[test]
fn no_command_gives_a_stack_another_stage() {
    let mut seen = 0;
    for page in PAGES {
        for command in commands(&blocks(&text(page), "sh"), "sam") {
            seen += 1;
            assert!(is_at_home(command), "{page}: {command}");
        }
    }
    assert!(seen >= 4, "{seen}");
    for (command, expected) in [
        ("sam deploy --parameter-overrides MemorySize=1024", true),
        ("sam deploy --config-env prod", true),
        (
            "sam deploy --stack-name millstream-$STAGE --parameter-overrides MemorySize=1024 Stage=$STAGE",
            true,
        ),
        ("sam deploy --parameter-overrides Stage=prod", false),
        ("sam deploy --stack-name millstream-prod", false),
        ("sam deploy --config-env prod --parameter-overrides MemorySize=1024", false),
    ] {
        assert_eq!(is_at_home(command), expected, "{command}");
    }
}
