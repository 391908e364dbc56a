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
const SECRETS: [&str; 10] = [
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
];

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
    /// Files that must exist.
    Given(Vec<PathBuf>),
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

    /// The variables of the environment, and of these files.
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

    fn of_environment(&self, name: &str) -> Result<Option<String>, String> {
        let upper = name.to_ascii_uppercase();
        if SECRETS.iter().any(|secret| upper.contains(secret)) {
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
        let paths = match &self.files {
            // A virtual environment of Python may be a folder with this name.
            Files::Beside(folder) => {
                Vec::from_iter(Some(folder.join(FILE_NAME)).filter(|file| file.exists() && !file.is_dir()))
            }
            Files::Given(paths) => paths.iter().filter(|path| *path != Path::new(NO_FILE)).cloned().collect(),
        };
        for path in paths {
            let text = source::read_variables(&path)?;
            dotenv::read(&text, &|name| self.of_environment(name), &mut values)
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(values)
    }
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
        let environment = [("CI_JOB_TOKEN", "value"), ("aws_secret_access_key", "value")];
        let variables = Variables::beside(folder.path()).with_environment(&environment);
        for name in ["CI_JOB_TOKEN", "aws_secret_access_key", "TAG", "OTHER"] {
            let error = variables.get(name).unwrap_err();
            assert!(error.contains("that of a secret"), "{error}");
        }
    }
}
