//! Where the variables of Compose files have their values: the environment first, then files such as `.env`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::dotenv::{self, Values};
use super::source;

/// The file of variables beside a Compose file.
const FILE_NAME: &str = ".env";

/// The path that stands for a file without variables.
const NO_FILE: &str = "/dev/null";

/// Parts of the names of variables with secrets. A Compose file in a pull request must not get them into the name of an image, from
/// where they would go to a registry that it names, and into logs.
const SECRETS: [&str; 13] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "PRIVATE_KEY",
    "ACCESS_KEY",
    "API_KEY",
    "APIKEY",
    "AUTH_CONFIG",
    "JWT",
    "DSN",
];

/// Ends of the names of variables with secrets.
const SECRET_ENDS: [&str; 2] = ["_KEY", "_PAT"];

/// The environment of the process, or another one in tests.
#[derive(Debug, Clone, Default)]
pub(crate) enum Environment {
    #[default]
    Process,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests have an environment of their own"))]
    Fixed(BTreeMap<String, String>),
}

impl Environment {
    fn get(&self, name: &str) -> Option<String> {
        match self {
            Self::Process => std::env::var(name).ok(),
            Self::Fixed(values) => values.get(name).cloned(),
        }
    }
}

/// The variables of a Compose file.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    environment: Environment,
    /// The variables of the file that includes this one.
    parent: Option<Arc<Variables>>,
    files: Files,
    values: OnceLock<Result<Values, String>>,
}

/// Files of variables. A later one takes precedence.
#[derive(Debug, Clone)]
enum Files {
    /// `.env` in a folder, if it exists.
    Beside(PathBuf),
    /// Files that the command line names.
    Given(Vec<PathBuf>),
    /// Files that a Compose file names.
    Named(Vec<PathBuf>),
}

impl Default for Files {
    fn default() -> Self {
        Self::Given(Vec::new())
    }
}

impl Variables {
    /// The variables of the environment, and of `.env` in this folder.
    pub(crate) fn beside(folder: &Path) -> Self {
        Self { files: Files::Beside(folder.to_owned()), ..Self::default() }
    }

    /// The variables of the environment, and of files that a Compose file names.
    pub(crate) fn of_named_files(files: &[PathBuf]) -> Self {
        Self { files: Files::Named(files.to_vec()), ..Self::default() }
    }

    /// The variables of the environment, and of files that the command line names.
    pub(crate) fn of_files(files: &[PathBuf]) -> Self {
        Self { files: Files::Given(files.to_vec()), ..Self::default() }
    }

    /// Variables of a file that another file includes. Those of the other file take precedence.
    pub(crate) fn included_by(self, parent: &Arc<Variables>) -> Self {
        Self { environment: parent.environment.clone(), parent: Some(Arc::clone(parent)), ..self }
    }

    #[cfg(test)]
    pub(crate) fn with_environment(self, values: &[(&str, &str)]) -> Self {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { environment: Environment::Fixed(values.collect()), ..self }
    }

    /// The value of a variable. `None` if it is not set.
    ///
    /// # Errors
    /// When it may not be read, or a file of variables cannot be read.
    pub(crate) fn get(&self, name: &str) -> Result<Option<String>, String> {
        if let Some(value) = self.of_environment(name)? {
            return Ok(Some(value));
        }
        let mut variables = Some(self);
        let mut chain = Vec::new();
        while let Some(own) = variables {
            chain.push(own);
            variables = own.parent.as_deref();
        }
        for variables in chain.into_iter().rev() {
            if let Some(value) = variables.values()?.get(name) {
                return value.clone().map(Some);
            }
        }
        Ok(None)
    }

    /// The value of a variable for the name of an image or a file. An error does not show the value, which may be a secret: a URL with a
    /// password, or the content of a file.
    ///
    /// # Errors
    /// When it may not be read, or has characters that no name of an image has.
    pub(crate) fn get_name(&self, name: &str) -> Result<Option<String>, String> {
        let value = self.get(name)?;
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
        match &value {
            Some(text) if !text.chars().all(is_allowed) || text.contains("//") => {
                Err(format!("the value of the variable `{name}` is not the name of an image or file, or a part of one"))
            }
            _ => Ok(value),
        }
    }

    fn of_environment(&self, name: &str) -> Result<Option<String>, String> {
        let upper = name.to_ascii_uppercase();
        let is_secret = SECRETS.iter().any(|secret| upper.contains(secret))
            || SECRET_ENDS.iter().any(|secret| upper.ends_with(secret));
        if is_secret {
            return Err(format!(
                "the variable `{name}` is not read, because its name is that of a secret; give it another name"
            ));
        }
        Ok(self.environment.get(name))
    }

    fn values(&self) -> Result<&Values, String> {
        self.values.get_or_init(|| self.read()).as_ref().map_err(Clone::clone)
    }

    fn read(&self) -> Result<Values, String> {
        let mut values = Values::new();
        let (paths, are_given) = match &self.files {
            // A virtual environment of Python may be a folder with this name.
            Files::Beside(folder) => {
                let file = Some(folder.join(FILE_NAME)).filter(|file| file.exists() && !file.is_dir());
                (Vec::from_iter(file), false)
            }
            Files::Given(paths) => (paths.clone(), true),
            Files::Named(paths) => (paths.clone(), false),
        };
        for path in paths.into_iter().filter(|path| path != Path::new(NO_FILE)) {
            if !are_given && !is_file_of_variables(&path) {
                return Err(format!(
                    "{}: expected a file with the name .env, .env.NAME or NAME.env, also behind links",
                    path.display()
                ));
            }
            let text = source::read_variables(&path)?;
            dotenv::read(&text, &|name| self.of_environment(name), &mut values)
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(values)
    }
}

/// Whether a file has a name for variables. A Compose file in a pull request must not name a file with credentials, whose lines may look
/// like variables.
fn is_file_of_variables(path: &Path) -> bool {
    // A file that does not exist is another error.
    let Ok(real) = path.canonicalize() else { return true };
    let name = real.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.ends_with(FILE_NAME) || name.starts_with(".env.")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Variables;

    #[test]
    fn the_environment_comes_before_files_and_a_later_file_before_an_earlier_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let files = [file(".env", "A=dot\nB=dot\nC=dot\n"), file("other.env", "A=other\nB=other\n")];
        let environment = [("A", "shell")];
        let get = |variables: &Variables, name| variables.get(name).unwrap();
        let beside = Variables::beside(folder.path()).with_environment(&environment);
        assert_eq!(["A", "B", "D"].map(|name| get(&beside, name)), [Some("shell".into()), Some("dot".into()), None]);
        let given = Variables::of_files(&files).with_environment(&environment);
        assert_eq!(
            ["A", "B", "C"].map(|name| get(&given, name)),
            [Some("shell".into()), Some("other".into()), Some("dot".into())]
        );
        let included = Variables::of_files(&files[..1])
            .included_by(&Arc::new(Variables::of_files(&files[1..]).with_environment(&environment)));
        assert_eq!(
            ["A", "B", "C"].map(|name| get(&included, name)),
            [Some("shell".into()), Some("other".into()), Some("dot".into())]
        );
    }

    #[test]
    fn a_folder_without_a_file_of_variables_is_accepted_and_a_given_file_must_exist() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Variables::beside(folder.path()).with_environment(&[]).get("A"), Ok(None));
        std::fs::create_dir(folder.path().join(".env")).unwrap();
        assert_eq!(Variables::beside(folder.path()).with_environment(&[]).get("A"), Ok(None));
        assert_eq!(Variables::of_files(&["/dev/null".into()]).with_environment(&[]).get("A"), Ok(None));
        let missing = Variables::of_files(&[folder.path().join("missing")]).with_environment(&[]);
        assert!(missing.get("A").unwrap_err().contains("missing"));
    }

    #[test]
    fn a_variable_with_the_name_of_a_secret_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), "TAG=$CI_JOB_TOKEN\nOTHER=$TAG\n").unwrap();
        let environment = [("CI_JOB_TOKEN", "value"), ("aws_secret_access_key", "value"), ("DEPLOY_KEY", "value")];
        let variables = Variables::beside(folder.path()).with_environment(&environment);
        for name in ["CI_JOB_TOKEN", "aws_secret_access_key", "DEPLOY_KEY", "TAG", "OTHER"] {
            let error = variables.get(name).unwrap_err();
            assert!(error.contains("that of a secret"), "{error}");
        }
    }

    #[test]
    fn a_value_that_no_image_and_no_file_has_is_not_used_and_not_shown() {
        let environment = [
            ("A", "r.test:5000/a-b/c_d:1.0+x@sha256:0"),
            ("B", "https://u:hunter2@a.test"),
            ("C", "a\nhunter2"),
            ("D", "{\"hunter2\"}"),
        ];
        let variables = Variables::default().with_environment(&environment);
        assert_eq!(variables.get_name("A").unwrap().unwrap(), environment[0].1);
        for name in ["B", "C", "D"] {
            let error = variables.get_name(name).unwrap_err();
            assert!(error.contains(name) && !error.contains("hunter2"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_compose_file_cannot_name_a_file_with_credentials() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("credentials"), "A=1\n").unwrap();
        for name in ["prod.env", ".env.prod"] {
            std::fs::write(path(name), "A=1\n").unwrap();
            assert_eq!(
                Variables::of_named_files(&[path(name)]).with_environment(&[]).get("A"),
                Ok(Some("1".to_owned()))
            );
        }
        std::os::unix::fs::symlink("credentials", path(".env")).unwrap();
        let named = [
            Variables::beside(folder.path()),
            Variables::of_named_files(&[path("credentials")]),
            Variables::of_named_files(&["/proc/self/environ".into()]),
        ];
        for variables in named {
            let error = variables.with_environment(&[]).get("A").unwrap_err();
            assert!(error.contains("expected a file with the name .env"), "{error}");
        }
        assert_eq!(
            Variables::of_files(&[path("credentials")]).with_environment(&[]).get("A"),
            Ok(Some("1".to_owned()))
        );
    }
}
