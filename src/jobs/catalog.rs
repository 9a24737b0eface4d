//! The jobs of this installation: those compiled in, or those of a folder.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Definition, DefinitionError};

/// The schedules that ship with the program; `jobs/` in the repository.
const SHIPPED: [(&str, &str); 6] = [
    ("release-holds", include_str!("../../jobs/release-holds.toml")),
    ("auto-payout", include_str!("../../jobs/auto-payout.toml")),
    ("submit-transfers", include_str!("../../jobs/submit-transfers.toml")),
    ("reconcile-transfers", include_str!("../../jobs/reconcile-transfers.toml")),
    ("audit-ledger", include_str!("../../jobs/audit-ledger.toml")),
    ("prune", include_str!("../../jobs/prune.toml")),
];

/// Every job, in the order of its file's name (the shipped ones in the order of the cycle).
#[derive(Debug, Clone)]
pub struct Catalog(Vec<Definition>);

/// Why the jobs cannot be loaded; each names the file.
#[derive(Debug, Error)]
pub enum CatalogError {
    #[error("the folder of jobs {} cannot be read: check [jobs] dir", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the folder of jobs {} holds no .toml file: check [jobs] dir", path.display())]
    Empty { path: PathBuf },
    #[error("the job's file {} cannot be read", path.display())]
    NoFile { path: PathBuf, source: std::io::Error },
    #[error(
        "{file} cannot be the file of a job: its name is the job's id, of letters, digits, - and _"
    )]
    BadName { file: String },
    #[error("job {file} cannot be used")]
    BadJob { file: String, source: DefinitionError },
    #[error("there is no job \"{job_id}\": the jobs are {known}")]
    Unknown { job_id: String, known: String },
}

impl Catalog {
    /// Loads the jobs of the folder `dir`, or those that ship with the program.
    ///
    /// # Errors
    /// [`CatalogError`]: one job that cannot be used refuses them all.
    pub fn load(dir: Option<&Path>) -> Result<Self, CatalogError> {
        let Some(dir) = dir else {
            let shipped = SHIPPED.iter().map(|(id, text)| parse(id, text));
            return Ok(Self(shipped.collect::<Result<_, _>>()?));
        };
        let unreadable = |source| CatalogError::Unreadable { path: dir.to_owned(), source };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            // What an editor keeps beside a file is no job.
            let hidden =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
                files.push(path);
            }
        }
        files.sort();
        if files.is_empty() {
            return Err(CatalogError::Empty { path: dir.to_owned() });
        }
        Ok(Self(files.iter().map(|path| Self::read(path)).collect::<Result<_, _>>()?))
    }

    /// Reads the job of one file.
    ///
    /// # Errors
    /// [`CatalogError::NoFile`], [`CatalogError::BadJob`].
    pub fn read(path: &Path) -> Result<Definition, CatalogError> {
        let no_file = |source| CatalogError::NoFile { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(no_file)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        parse(&stem, &text)
    }

    /// Every job.
    pub fn iter(&self) -> impl Iterator<Item = &Definition> {
        self.0.iter()
    }

    /// The job of an id.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`], with the ids there are.
    pub fn job(&self, job_id: &str) -> Result<&Definition, CatalogError> {
        self.0.iter().find(|job| job.job_id == job_id).ok_or_else(|| CatalogError::Unknown {
            job_id: job_id.to_owned(),
            known: self.0.iter().map(|job| job.job_id.as_str()).collect::<Vec<_>>().join(", "),
        })
    }
}

fn parse(job_id: &str, text: &str) -> Result<Definition, CatalogError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !job_id.chars().all(fits) || job_id.starts_with('-') {
        return Err(CatalogError::BadName { file: format!("{job_id}.toml") });
    }
    Definition::parse(job_id, text)
        .map_err(|source| CatalogError::BadJob { file: format!("{job_id}.toml"), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_jobs_load_and_the_one_that_spends_money_ships_disabled() {
        let catalog = Catalog::load(None).expect("usable");
        assert_eq!(catalog.iter().count(), SHIPPED.len());
        let disabled: Vec<_> =
            catalog.iter().filter(|job| !job.enabled).map(|job| job.job_id.as_str()).collect();
        assert_eq!(disabled, ["auto-payout"]);
    }

    #[test]
    fn a_folder_replaces_them_and_one_bad_file_refuses_all() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(matches!(Catalog::load(Some(dir.path())), Err(CatalogError::Empty { .. })));
        let good = "kind = \"prune\"\nenabled = true\nschedule = \"@daily\"";
        std::fs::write(dir.path().join("mine.toml"), good).expect("written");
        let catalog = Catalog::load(Some(dir.path())).expect("usable");
        assert!(catalog.job("mine").is_ok());
        let error = catalog.job("auto-payout").expect_err("not there");
        assert!(error.to_string().contains("the jobs are mine"));
        std::fs::write(dir.path().join("bad.toml"), "kind = 1").expect("written");
        let error = Catalog::load(Some(dir.path())).expect_err("refused");
        assert!(error.to_string().contains("bad.toml"));
    }
}
