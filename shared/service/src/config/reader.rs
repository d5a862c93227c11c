//! Reading single variables: typed, secrets also from files, every refusal with the variable's name.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rustls::pki_types::pem::{PemObject as _, SectionKind};

use super::VARIABLES;

/// A variable that is missing or does not fit.
#[derive(Debug, thiserror::Error)]
#[error("{name}{} does not fit: {why}", value.as_ref().map(|value| format!("={value:?}")).unwrap_or_default())]
pub struct ConfigError {
    name: &'static str,
    /// Not given for secrets.
    value: Option<String>,
    why: String,
}

impl ConfigError {
    /// An error that does not show the value.
    pub(super) fn new(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, value: None, why: why.into() }
    }
}

/// A value that must not show in logs.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

/// Reads variables by a look-up; an empty one is taken as absent.
pub(super) struct Reader<'a>(pub &'a dyn Fn(&str) -> Option<String>);

impl Reader<'_> {
    /// The value of a variable that may be absent.
    pub fn value(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// The value of a variable, or its default.
    pub fn text(&self, name: &'static str) -> String {
        self.value(name).unwrap_or_else(|| default(name).to_owned())
    }

    /// A value of any type that can be read from text.
    pub fn parsed<T: FromStr>(&self, name: &'static str) -> Result<T, ConfigError>
    where
        T::Err: fmt::Display,
    {
        let value = self.text(name);
        value.parse().map_err(|e: T::Err| self.refused(name, e.to_string()))
    }

    /// A number that is not zero.
    pub fn positive(&self, name: &'static str) -> Result<usize, ConfigError> {
        match self.parsed(name)? {
            0 => Err(self.refused(name, "it must be at least 1")),
            n => Ok(n),
        }
    }

    /// A number of days, at least one and at most a century.
    pub fn days(&self, name: &'static str) -> Result<Duration, ConfigError> {
        match self.positive(name)? {
            days if days <= 36_500 => Ok(Duration::from_secs(days as u64 * 24 * 3600)),
            _ => Err(self.refused(name, "it must be at most 36500")),
        }
    }

    /// A number from 0 to 1.
    pub fn share(&self, name: &'static str) -> Result<f64, ConfigError> {
        let share: f64 = self.parsed(name)?;
        match (0.0..=1.0).contains(&share) {
            true => Ok(share),
            false => Err(self.refused(name, "it must be from 0 to 1")),
        }
    }

    /// One of a few words, in upper or lower case.
    pub fn choice<T: Copy>(&self, name: &'static str, choices: &[(&str, T)]) -> Result<T, ConfigError> {
        let value = self.text(name);
        let found = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&value));
        found.map(|(_, chosen)| *chosen).ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.refused(name, format!("it must be one of {}", words.join(", ")))
        })
    }

    /// A secret: the variable itself, or the content of the file that its `…_FILE` variable names.
    pub fn secret(&self, name: &'static str, file: &'static str) -> Result<Option<Secret>, ConfigError> {
        let Some(path) = self.value(file) else {
            let value = self.value(name).or_else(|| Some(default(name).to_owned()).filter(|d| !d.is_empty()));
            return Ok(value.map(Secret));
        };
        if self.value(name).is_some() {
            return Err(self.refused(file, format!("{name} is set, too; set one of the two")));
        }
        let content = fs::read_to_string(&path)
            .map_err(|e| self.refused(file, format!("the file cannot be read: {e}")))?;
        let content = content.trim_end_matches(['\r', '\n']);
        match content.is_empty() {
            true => Err(self.refused(file, "the file is empty")),
            false => Ok(Some(Secret(content.to_owned()))),
        }
    }

    /// The path of a PEM file that holds at least one certificate.
    pub fn certificates(&self, name: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        self.pem(name, "certificate", |kind| kind == SectionKind::Certificate)
    }

    /// The path of a PEM file that holds a private key.
    pub fn key(&self, name: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        self.pem(name, "private key that is not encrypted", |kind| {
            matches!(kind, SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey)
        })
    }

    /// A client certificate and its key: both or none.
    pub fn identity(
        &self,
        certificate: &'static str,
        key: &'static str,
    ) -> Result<Option<Identity>, ConfigError> {
        match (self.certificates(certificate)?, self.key(key)?) {
            (Some(certificate), Some(key)) => Ok(Some(Identity { certificate, key })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(self.refused(certificate, format!("it needs {key}, too"))),
            (None, Some(_)) => Err(self.refused(key, format!("it needs {certificate}, too"))),
        }
    }

    fn pem(
        &self,
        name: &'static str,
        what: &str,
        fits: impl Fn(SectionKind) -> bool,
    ) -> Result<Option<PathBuf>, ConfigError> {
        let Some(path) = self.value(name).map(PathBuf::from) else { return Ok(None) };
        let content =
            fs::read(&path).map_err(|e| self.refused(name, format!("the file cannot be read: {e}")))?;
        let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(&content);
        match sections.any(|section| section.is_ok_and(|(kind, _)| fits(kind))) {
            true => Ok(Some(path)),
            false => Err(self.refused(name, format!("the file holds no {what} in PEM form"))),
        }
    }

    /// An error about a variable that is no secret.
    pub fn refused(&self, name: &'static str, why: impl Into<String>) -> ConfigError {
        ConfigError { name, value: Some(self.text(name)), why: why.into() }
    }
}

/// PEM files by which a client shows who it is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its certificate, and those between it and the CA.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

fn default(name: &str) -> &'static str {
    VARIABLES.iter().find(|v| v.name == name).and_then(|v| v.default).unwrap_or_default()
}
