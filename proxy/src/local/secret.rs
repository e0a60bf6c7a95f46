//! Passwords: from where they are kept to where they are used, never by way of
//! an argument.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::Failure;

const VARIABLE: &str = "WEIRGATE_PASSWORD";
/// As much is read where a password should be, in bytes.
const LONGEST: u64 = 64 * 1024;

/// Where a password may be read from, on the command line.
#[derive(Args)]
pub(crate) struct PasswordArg {
    /// Read the password from here; - is standard input. One line end at its end does not count.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

/// The password of an account that is there.
pub(crate) async fn of(given: Option<&Path>, saved: Option<&Path>) -> Result<Vec<u8>, Failure> {
    if let Some(password) = from_file_or_environment(given)? {
        return Ok(password);
    }
    match saved.map(read_saved).transpose()?.flatten() {
        Some(password) => Ok(password),
        None => prompt("Password: ").await,
    }
}

/// A password for a new account: a prompt asks for it twice.
pub(crate) async fn new(given: Option<&Path>) -> Result<Vec<u8>, Failure> {
    if let Some(password) = from_file_or_environment(given)? {
        return Ok(password);
    }
    let password = prompt("New password: ").await?;
    if prompt("Once more: ").await? == password {
        Ok(password)
    } else {
        Err(Failure::Request("the two are not the same".into()))
    }
}

fn from_file_or_environment(given: Option<&Path>) -> Result<Option<Vec<u8>>, Failure> {
    use std::os::unix::ffi::OsStringExt;
    let Some(path) = given else {
        let password = std::env::var_os(VARIABLE).map(OsStringExt::into_vec);
        return Ok(password.filter(|password| !password.is_empty()));
    };
    let mut password = Vec::new();
    // Far more than any password has, and less than some devices.
    let mut all = |source: &mut dyn Read| source.take(LONGEST).read_to_end(&mut password);
    let read = match path == Path::new("-") {
        true => all(&mut io::stdin().lock()),
        false => File::open(path).and_then(|mut file| all(&mut file)),
    };
    read.map_err(|error| Failure::Request(format!("{}: {error}", path.display())))?;
    Ok(Some(without_line_end(password)))
}

fn without_line_end(mut password: Vec<u8>) -> Vec<u8> {
    if password.ends_with(b"\n") {
        password.pop();
        if password.ends_with(b"\r") {
            password.pop();
        }
    }
    password
}

/// What was kept, unless others can read it too.
fn read_saved(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let fault = |why: String| Failure::Request(format!("{}: {why}", path.display()));
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(error.to_string())),
        Ok(found) if found.permissions().mode() & 0o077 != 0 => Err(fault(
            "others may read it: chmod 600, or log in again".into(),
        )),
        Ok(_) => std::fs::read(path)
            .map(Some)
            .map_err(|error| fault(error.to_string())),
    }
}

/// Asks whoever sits at the terminal.
async fn prompt(question: &'static str) -> Result<Vec<u8>, Failure> {
    let asked = tokio::task::spawn_blocking(move || rpassword::prompt_password(question)).await;
    match asked {
        Ok(Ok(password)) => Ok(password.into_bytes()),
        Ok(Err(_)) | Err(_) => Err(Failure::Request(format!(
            "nobody can be asked for the password: give --password-file or {VARIABLE}"
        ))),
    }
}

/// Writes a file that its owner alone may read, in a folder made for it if
/// there is none; what was there is replaced whole.
pub(crate) fn save(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let fault = |error: io::Error| Failure::Environment(format!("{}: {error}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(fault)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new = Path::new(&name);
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(new)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(new, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(new);
        fault(error)
    })
}

/// Removes what an earlier login has kept.
pub(crate) fn forget(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
