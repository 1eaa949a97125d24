//! What is built and run: the image, the unit, the examples for orchestrators, and the script that packs a function.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use millstream_test_support::tools;
use serde_json::{Value, json};

use crate::workbench::{Verdict, ask, elements, folder, path, resources, said, text, write, yaml};

/// What is left over when all was handed over: below that, a stop can be a death, which others notice late.
const SPARE_SECONDS: u64 = 5;

/// How long the poller may take to stop, as it says itself, and some seconds more.
fn least_stop_seconds() -> u64 {
    let source = text("src/commands/run.rs");
    let grace = source.split_once("const GRACE: Duration = Duration::from_secs(").expect("it has a limit").1;
    grace.split(')').next().and_then(|it| it.parse::<u64>().ok()).expect("seconds") + SPARE_SECONDS
}

#[test]
fn hadolint_accepts_the_image() {
    let hadolint = || Command::new(tools::linters().join("hadolint"));
    assert_eq!(said(hadolint().arg(path("infra/Dockerfile"))), "");
    let folder = folder();
    let faulty = folder.path().join("Dockerfile");
    let image = text("infra/Dockerfile");
    write(
        &faulty,
        &image.replace("CMD [\"run\"", "CMD run [\"run\"").replace("USER 65534:65534", "USER root"),
    );
    let verdict = ask(hadolint().arg(&faulty));
    assert!(verdict.said.contains("DL3025") && verdict.said.contains("DL3002"), "{verdict:?}");
}

#[test]
fn the_image_holds_nothing_but_the_binary_and_what_it_reads() {
    let image = text("infra/Dockerfile");
    let (_, last) = image.rsplit_once("\nFROM ").expect("stages");
    assert!(last.starts_with("scratch\n"), "{last}");
    let copied: Vec<&str> = last.lines().filter_map(|line| line.strip_prefix("COPY ")).collect();
    assert_eq!(copied.len(), 3, "certificates, the binary, the config: {copied:?}");
    for line in ["USER 65534:65534", "ENTRYPOINT [\"/millstream\"]", "STOPSIGNAL SIGTERM"] {
        assert!(last.lines().any(|it| it == line), "{line}");
    }
    assert!(last.contains("\nHEALTHCHECK ") && last.contains("CMD [\"/millstream\", \"health\"]"), "{last}");
}

/// Lets systemd read the unit, with a binary that is there.
fn analyzed(unit: &str) -> Verdict {
    let folder = folder();
    let file = folder.path().join("millstream.service");
    write(&file, &unit.replace("/usr/local/bin/millstream", env!("CARGO_BIN_EXE_millstream")));
    ask(Command::new(tools::systemd().join("systemd-analyze")).args(["verify", "--man=no"]).arg(&file))
}

#[test]
fn systemd_accepts_the_unit() {
    let unit = text("infra/millstream.service");
    let verdict = analyzed(&unit);
    assert!(verdict.is_content && verdict.complained.is_empty(), "{verdict:?}");
    let verdict = analyzed(&unit.replace("KillMode=mixed", "KillMode=mixt"));
    assert!(verdict.complained.contains("mixt"), "{verdict:?}");
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).expect("a limit");
    assert!(stop.parse::<u64>().expect("seconds") >= least_stop_seconds());
}

#[test]
fn kubernetes_accepts_the_example() {
    let validate = |file: &Path| {
        ask(Command::new(tools::linters().join("kubernetes-validate")).arg("--strict").arg(file))
    };
    let example = path("infra/kubernetes.yaml");
    let verdict = validate(&example);
    assert!(verdict.is_content, "{verdict:?}");
    let folder = folder();
    let faulty = folder.path().join("kubernetes.yaml");
    write(&faulty, &text("infra/kubernetes.yaml").replace("readinessProbe:", "readynessProbe:"));
    let verdict = validate(&faulty);
    assert!(!verdict.is_content, "{verdict:?}");

    let pod = pod();
    assert!(pod["terminationGracePeriodSeconds"].as_u64() >= Some(least_stop_seconds()), "{pod}");
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
}

/// What the deployment of Kubernetes says of a pod.
fn pod() -> Value {
    let (folder, example) = (folder(), text("infra/kubernetes.yaml"));
    let document = example.split("\n---\n").find(|it| it.contains("kind: Deployment")).expect("a deployment");
    let (source, result) = (folder.path().join("deployment.yaml"), folder.path().join("deployment.json"));
    write(&source, document);
    assert!(crate::workbench::translate(&source, &result).is_content);
    let deployment: Value =
        serde_json::from_str(&fs::read_to_string(result).expect("written")).expect("JSON");
    deployment["spec"]["template"]["spec"].clone()
}

/// The four houses start the poller by words that it knows, where what looks after it finds it.
#[test]
fn the_poller_is_started_by_words_that_it_knows() {
    let words =
        |list: &Value| elements(list).iter().map(|it| it.as_str().expect("a word").to_owned()).collect();
    let image = text("infra/Dockerfile");
    let image = image.lines().find_map(|line| line.strip_prefix("CMD ")).expect("a command");
    let image: Vec<String> = words(&serde_json::from_str(image).expect("a list of words"));
    let unit = text("infra/millstream.service");
    let unit = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    let unit: Vec<String> = unit.split_whitespace().skip(1).map(str::to_owned).collect();
    let pod = pod();
    let container = &pod["containers"][0];
    let task = yaml("infra/ecs.yaml")["Resources"]["Task"]["Properties"]["ContainerDefinitions"][0].clone();
    let houses = [image, unit, words(&container["args"]), words(&task["Command"])];
    let known = |words: &[String], more: &[&str]| {
        ask(Command::new(env!("CARGO_BIN_EXE_millstream")).args(words).args(more).arg("--help")).is_content
    };
    for words in &houses {
        assert!(
            known(words, &[]) && known(words, &["--no-queues"]) && !known(words, &["--no-queue"]),
            "{words:?}"
        );
    }
    // Only the unit is on the host itself: a container is looked at from outside, at the port that it names.
    for words in [&houses[0], &houses[2], &houses[3]] {
        assert!(words.ends_with(&["--listen".to_owned(), "0.0.0.0:9464".to_owned()]), "{words:?}");
    }
    assert_eq!(container["ports"][0]["containerPort"], 9464);
    assert_eq!(container["livenessProbe"]["httpGet"], json!({ "path": "/healthz", "port": "metrics" }));
    assert_eq!(container["readinessProbe"]["httpGet"], json!({ "path": "/readyz", "port": "metrics" }));
    assert_eq!(task["PortMappings"], json!([{ "ContainerPort": 9464 }]));
    let help = said(Command::new(env!("CARGO_BIN_EXE_millstream")).args(["health", "--help"]));
    assert!(help.contains("[default: 127.0.0.1:9464]"), "{help}");
}

/// cfn-lint and checkov judge it with the other templates.
#[test]
fn the_task_of_ecs_stops_gracefully_and_is_nobody() {
    let template = yaml("infra/ecs.yaml");
    let tasks = resources(&template, "AWS::ECS::TaskDefinition");
    let [(_, task)] = tasks[..] else { panic!("one task: {tasks:?}") };
    for container in elements(&task["Properties"]["ContainerDefinitions"]) {
        assert!(container["StopTimeout"].as_u64() >= Some(least_stop_seconds()), "{container}");
        assert_eq!(container["HealthCheck"]["Command"], json!(["CMD", "/millstream", "health"]));
        assert_eq!(
            (&container["User"], &container["ReadonlyRootFilesystem"]),
            (&"65534:65534".into(), &true.into())
        );
    }
}

/// What a house sets for the poller; of a template, with what stands in for its parameters.
fn environments() -> [(&'static str, Vec<(String, String)>); 3] {
    let image = text("infra/Dockerfile").replace("\\\n#", "");
    let command =
        image.lines().find(|line| line.starts_with("#   docker run ")).expect("it says how it is run");
    let words: Vec<&str> = command.split_whitespace().collect();
    let set = words.windows(2).filter_map(|pair| pair[1].split_once('=').filter(|_| pair[0] == "-e"));
    let image = set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();

    let word = |value: &Value| value.as_str().expect("a text").to_owned();
    let env = pod()["containers"][0]["env"].clone();
    let pod = elements(&env).iter().map(|set| (word(&set["name"]), word(&set["value"]))).collect();

    let template = yaml("infra/ecs.yaml");
    let given = |name: &str| match name {
        "CompanyChangedTopic" => "arn:aws:sns:eu-west-1:000000000000:company-changed".to_owned(),
        "CompanyEventsQueue" => "https://sqs.eu-west-1.amazonaws.com/000000000000/company-events".to_owned(),
        other => word(&template["Parameters"][other]["Default"]),
    };
    let task = &template["Resources"]["Task"]["Properties"]["ContainerDefinitions"][0];
    let set = elements(&task["Environment"]).into_iter();
    let task = set.map(|set| (word(&set["Name"]), given(&word(&set["Value"]["Ref"])))).collect();
    [("Dockerfile", image), ("kubernetes.yaml", pod), ("ecs.yaml", task)]
}

/// The config that the image has inside, if nobody says another, under some environment and nothing else.
fn checked(environment: &[(String, String)]) -> Verdict {
    let image = text("infra/Dockerfile");
    let config = image.lines().find_map(|line| line.strip_prefix("ARG CONFIG=")).expect("it has a config");
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(["check", "--config", config]).current_dir(path("")).env_clear();
    ask(command.envs(environment.iter().cloned()))
}

#[test]
fn each_container_is_given_what_the_config_of_the_image_reads_and_no_more() {
    for (house, environment) in environments() {
        let verdict = checked(&environment);
        assert!(verdict.is_content && verdict.said.contains("0 warnings"), "{house}: {verdict:?}");
        for (place, (name, _)) in environment.iter().enumerate().filter(|(_, (name, _))| name != "AWS_REGION")
        {
            let mut fewer = environment.clone();
            fewer.remove(place);
            let verdict = checked(&fewer);
            assert!(!verdict.is_content && verdict.complained.contains(name), "{house}: {verdict:?}");
        }
        // ECS tells the Region by itself.
        assert_eq!(environment.iter().any(|(name, _)| name == "AWS_REGION"), house != "ecs.yaml", "{house}");
    }
}

/// `millstream health` gives up after 2 s: whoever asks it waits for longer, and so sees what it says.
#[test]
fn who_asks_for_health_waits_for_the_answer() {
    const LEAST: u64 = 3;
    let image = text("infra/Dockerfile");
    let timeout = image.split_once("--timeout=").and_then(|(_, rest)| rest.split('s').next()?.parse().ok());
    let task = yaml("infra/ecs.yaml")["Resources"]["Task"]["Properties"]["ContainerDefinitions"][0].clone();
    let pod = pod();
    let probes =
        ["livenessProbe", "readinessProbe"].map(|it| pod["containers"][0][it]["timeoutSeconds"].as_u64());
    for timeout in [timeout, task["HealthCheck"]["Timeout"].as_u64()].into_iter().chain(probes) {
        assert!(timeout.is_some_and(|seconds| seconds >= LEAST), "{timeout:?}");
    }
}

/// A copy of `infra/`, in whose `target/deploy` the script packs; and the script.
fn build(arguments: &[&str], bootstrap: &Path) -> (tempfile::TempDir, Verdict) {
    let folder = folder();
    let infra = folder.path().join("infra");
    fs::create_dir(&infra).expect("the temporary folder is writable");
    for name in ["build.sh", "millstream.toml"] {
        fs::copy(path("infra").join(name), infra.join(name)).expect("a copy");
    }
    let verdict = ask(Command::new(infra.join("build.sh")).args(arguments).env("BOOTSTRAP", bootstrap));
    (folder, verdict)
}

/// To build, it goes to another folder; here a stub of `cargo` builds.
#[test]
fn the_script_reads_a_config_in_the_folder_of_its_caller() {
    let (place, programs, caller) = (folder(), folder(), folder());
    let infra = place.path().join("infra");
    fs::create_dir(&infra).expect("the temporary folder is writable");
    fs::copy(path("infra/build.sh"), infra.join("build.sh")).expect("a copy");
    // Any small program will do.
    let stub = "#!/bin/sh\n[ \"$2\" = build ] || exit 0\nmkdir -p target/lambda/bootstrap && cp /bin/true target/lambda/bootstrap/bootstrap\n";
    let cargo = programs.path().join("cargo");
    write(&cargo, stub);
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("it is ours");
    write(&caller.path().join("own.toml"), "# mine\n");
    let before = std::env::var_os("PATH").unwrap_or_default();
    let programs = std::iter::once(programs.path().to_owned()).chain(std::env::split_paths(&before));
    let mut script = Command::new(infra.join("build.sh"));
    script.args([architectures().0, "own.toml"]).current_dir(caller.path());
    script.env_remove("BOOTSTRAP").env_remove("CARGO_TARGET_DIR");
    said(script.env("PATH", std::env::join_paths(programs).expect("a path of folders")));
    let packed =
        fs::read_to_string(place.path().join("target/deploy/millstream.toml")).expect("it is packed");
    assert_eq!(packed, "# mine\n");
}

/// The architecture of this machine as Lambda calls it, and the other one.
pub(crate) fn architectures() -> (&'static str, &'static str) {
    match std::env::consts::ARCH {
        "aarch64" => ("arm64", "x86_64"),
        _ => ("x86_64", "arm64"),
    }
}

#[test]
fn the_script_asks_for_what_the_page_installs() {
    let script = text("infra/build.sh");
    let asked = script.split_once("cargo-lambda is missing: pip install ").expect("it says how").1;
    let page = text("README.md").replace('\n', " ");
    let asked = asked.split('"').next().expect("a text");
    assert!(page.contains(asked), "{asked}");
}

#[test]
fn the_script_packs_what_fits_and_nothing_else() {
    let binary = Path::new(env!("CARGO_BIN_EXE_millstream"));
    let (own, other) = architectures();
    let (packed, verdict) = build(&[own], binary);
    assert!(
        verdict.is_content && verdict.said.starts_with(&format!("target/deploy: {own}, ")),
        "{verdict:?}"
    );
    let deploy = packed.path().join("target/deploy");
    let mut names: Vec<_> =
        fs::read_dir(&deploy).expect("a folder").map(|it| it.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["bootstrap", "millstream.toml"]);
    assert_eq!(
        fs::read_to_string(deploy.join("millstream.toml")).expect("text"),
        text("infra/millstream.toml")
    );

    for (arguments, complaint) in [
        (&[other][..], format!("is not for {other}")),
        (&["sparc"], "use arm64 or x86_64".to_owned()),
        (&[own, "nowhere.toml"], "there is no config nowhere.toml".to_owned()),
    ] {
        let (folder, verdict) = build(arguments, binary);
        assert!(!verdict.is_content && verdict.complained.contains(&complaint), "{verdict:?}");
        assert!(!folder.path().join("target").exists(), "nothing is packed");
    }
}
