//! `archive`, `verify`, `mutations`: what the record costs, and what a changed byte of it does.

mod archive;
mod exported;
mod mutations;
mod usage;
mod variants;
mod verify;

use std::path::PathBuf;

use crate::report::{Conditions, Report};
use crate::stats::Row;
use crate::world::folder;

pub(crate) use mutations::mutations;

/// Archives `count` histories and exports them.
pub(crate) async fn archive(count: u32) -> anyhow::Result<Report> {
    let scratch = tempfile::tempdir_in(prepared()?)?;
    let archived = archive::archived(scratch.path(), count).await?;
    let (_, exported) = exported::exported(scratch.path(), &archived).await?;
    let mut rows = archived.rows;
    rows.push(exported);
    Ok(report("archive", rows))
}

/// Verifies an export of `count` histories, and replays the same ones bare.
pub(crate) async fn verify(count: u32) -> anyhow::Result<Report> {
    let scratch = tempfile::tempdir_in(prepared()?)?;
    let archived = archive::archived(scratch.path(), count).await?;
    let (bundle, _) = exported::exported(scratch.path(), &archived).await?;
    Ok(report("verify", verify::rows(&bundle).await?))
}

/// On the disk that results go to, not where memory may pass for a disk.
fn prepared() -> anyhow::Result<PathBuf> {
    let folder = folder()?;
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn report(part: &'static str, rows: Vec<Row>) -> Report {
    Report {
        part,
        conditions: Conditions::now(&[]),
        rows,
        memory_mib: [("bench", usage::memory())].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_archived_is_exported_and_every_promise_of_it_holds() {
        let scratch = tempfile::tempdir().unwrap();
        let archived = archive::archived(scratch.path(), 40).await.unwrap();
        let counts = |rows: &[Row]| rows.iter().map(|row| row.count).collect::<Vec<_>>();
        assert_eq!(counts(&archived.rows), [40, 40]);
        let (bundle, exported) = exported::exported(scratch.path(), &archived).await.unwrap();
        assert_eq!(exported.count, 40);
        let rows = verify::rows(&bundle).await.unwrap();
        assert_eq!(counts(&rows), [1, 40, 40]);
        assert!((rows[1].counts["holds"] - 40.0).abs() < 0.5, "{rows:?}");
    }
}
