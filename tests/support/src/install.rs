//! Installs pinned programs from PyPI, and from Debian, below the cargo target folder, once for all test processes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A virtual environment that holds the package in this version.
pub(crate) fn installed(package: &str, version: &str, pip_options: &[&str]) -> PathBuf {
    environment(&format!("{package}-{version}"), &[format!("{package}=={version}")], pip_options)
}

/// A virtual environment that holds all of these packages, as `("package", "version")`, side by side.
pub(crate) fn installed_together(packages: &[(&str, &str)]) -> PathBuf {
    let names: Vec<String> =
        packages.iter().map(|(package, version)| format!("{package}-{version}")).collect();
    let requirements: Vec<String> =
        packages.iter().map(|(package, version)| format!("{package}=={version}")).collect();
    environment(&names.join("+"), &requirements, &[])
}

fn environment(name: &str, requirements: &[String], pip_options: &[&str]) -> PathBuf {
    once(name, |home| {
        let python = ["-m".as_ref(), "venv".as_ref(), home.as_os_str()];
        run(Path::new("python3"), &python, "install Python 3.10 or later with its venv module");
        let mut arguments: Vec<&OsStr> = vec!["install".as_ref(), "--quiet".as_ref()];
        arguments.extend(pip_options.iter().map(OsStr::new));
        arguments.extend(requirements.iter().map(OsStr::new));
        run(
            &home.join("bin/pip"),
            &arguments,
            "let pip reach a Python package index that has these versions",
        );
    })
}

/// A folder with the files of a Debian package, which nobody has to be root for.
pub(crate) fn unpacked(package: &str) -> PathBuf {
    once(&format!("debian-{package}"), |home| {
        for folder in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(home.join(folder)).expect("the target folder is writable");
        }
        let script = "cd \"$1\" && apt=\"apt-get -qq -o Dir::State::lists=$1/lists -o Dir::Cache::archives=$1/archives \
             -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Debug::NoLocking=1\" \
             && $apt update && $apt download \"$2\" && dpkg-deb --extract \"$2\"_*.deb . && rm -r lists archives ./*.deb";
        let arguments = ["-euc".as_ref(), script.as_ref(), "sh".as_ref(), home.as_os_str(), package.as_ref()];
        run(
            Path::new("sh"),
            &arguments,
            &format!("put the programs of `{package}` on the path, or let apt-get reach Debian"),
        );
    })
}

/// The folder of this name below the target folder, filled if it is not complete yet. It blocks while this or another
/// process installs; a panic says what is missing, since a test that is skipped proves nothing.
fn once(name: &str, install: impl FnOnce(&Path)) -> PathBuf {
    let tools = target_folder().join("test-tools");
    fs::create_dir_all(&tools).expect("the target folder is writable");
    let home = tools.join(name);
    let complete = home.join("complete");
    let lock = File::create(tools.join(format!("{name}.lock"))).expect("the target folder is writable");
    lock.lock().expect("the file system can lock");
    if !complete.is_file() {
        // An installation that was cut short is worth nothing.
        drop(fs::remove_dir_all(&home));
        fs::create_dir_all(&home).expect("the target folder is writable");
        install(&home);
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
