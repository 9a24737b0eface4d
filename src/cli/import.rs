//! `import`: programs, affiliates and commissions from CSV files.

use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::output::{Output, table};
use super::{App, Exit};
use crate::config::{Config, folders};
use crate::domain::OrgId;
use crate::import::{FileReport, Intake, Reject, Watcher};

/// Rejects told one by one; the rest are in the rejects file.
const TOLD: u64 = 20;

/// Imports a folder, or one file; exit 3 if rows were rejected.
pub async fn run(config: &Config, output: Output, path: &Path, org: &str) -> anyhow::Result<Exit> {
    let org: OrgId =
        org.parse().map_err(|error| super::exit::UsageError(format!("--org: {error}")))?;
    let app = App::open(config).await?;
    let (here, _) = folders()?;
    let mut teller = Teller::new();
    let intake = Intake { engine: &app.engine, work: &app.work(), org: &org, rejects_dir: &here };
    let reports = intake.import(path, &mut teller).await;
    teller.finish();
    let reports = reports?;
    print(output, &org, &reports)?;
    app.engine.store.close().await;
    let rejected = reports.iter().any(|report| report.rejected > 0);
    Ok(if rejected { Exit::Partly } else { Exit::Done })
}

/// Prints what became of each file.
pub fn print(output: Output, org: &OrgId, reports: &[FileReport]) -> anyhow::Result<()> {
    if output.json {
        let file = |report: &FileReport| {
            json!({
                "file": report.kind.file_name(), "new": report.new,
                "unchanged": report.unchanged, "rejected": report.rejected,
                "rejects_file": report.rejects,
            })
        };
        return output.json(&json!({
            "org": org, "files": reports.iter().map(file).collect::<Vec<_>>(),
        }));
    }
    let row = |report: &FileReport| {
        let mut row = vec![report.kind.file_name().to_owned()];
        row.extend([report.new, report.unchanged, report.rejected].map(|count| count.to_string()));
        row.push(
            report.rejects.as_ref().map_or_else(String::new, |path| path.display().to_string()),
        );
        row
    };
    let rows = reports.iter().map(row).collect();
    let headings = ["file", "new", "unchanged", "rejected", "rejects, with reasons, in"];
    output.text(&table(&headings, &[1, 2, 3], rows))
}

/// Shows progress on a terminal, and names the first rejects.
pub struct Teller {
    bar: ProgressBar,
    told: u64,
}

impl Teller {
    /// A teller that writes to stderr.
    pub fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{msg:>16} {bar:40} {bytes}/{total_bytes} {eta}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self { bar, told: 0 }
    }

    /// Clears the progress bar and says how many rejects were not named.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
        if self.told > TOLD {
            eprintln!("… and {} more; all are in the rejects files", self.told - TOLD);
        }
    }
}

impl Watcher for Teller {
    fn rejected(&mut self, reject: &Reject) {
        self.told += 1;
        if self.told <= TOLD {
            self.bar.suspend(|| eprintln!("{reject}"));
        }
    }

    fn progress(&mut self, file: &str, read: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(read);
        self.bar.set_message(file.to_owned());
    }
}
