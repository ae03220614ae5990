//! `tracelake config`: what the server would run with, and who said so.

use tracelake_server::settings::Described;
use tracelake_server::{Settings, SettingsArgs};

use super::print_report;
use crate::outcome::{Failure, Outcome};

/// Flags of `tracelake config`.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Prints every setting.
pub(crate) fn run(args: &ConfigArgs) -> Result<Outcome, Failure> {
    let settings = Settings::load(&args.settings).map_err(|error| Failure::Usage(error.to_string()))?;
    let described = settings.describe();
    print_report(&described, args.json, || table(&described))?;
    Ok(Outcome::Done)
}

/// Name, value and origin in columns.
fn table(described: &[Described]) -> String {
    let rows: Vec<[String; 3]> =
        std::iter::once(["setting".into(), "value".into(), "from".into()])
            .chain(described.iter().map(|setting| {
                [setting.name.into(), setting.value_text().into(), setting.origin.to_string()]
            }))
            .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (names, values) = (width(0), width(1));
    rows.iter().map(|[name, value, from]| format!("{name:names$}  {value:values$}  {from}\n")).collect()
}
