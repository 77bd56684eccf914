//! `fairway completions` and `fairway man`: what shells and `man` read, made from the command line itself.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;

/// For which shell, and where to.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
    /// Write the file into this folder, under the name that the shell looks for. Without it: standard output.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Where the pages go.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for each command into this folder. Without it: the first page, to standard output.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Writes the completions of one shell.
///
/// # Errors
/// They cannot be written.
pub fn completions(chosen: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut command = Cli::command();
    match &chosen.out {
        Some(folder) => {
            create(folder)?;
            let path = clap_complete::generate_to(chosen.shell, &mut command, NAME, folder)
                .with_context(|| format!("{}: cannot write there", folder.display()))?;
            eprintln!("{}", path.display());
        }
        None => {
            // Written in one piece: the generator panics where its output is closed.
            let mut text = Vec::new();
            clap_complete::generate(chosen.shell, &mut command, NAME, &mut text);
            io::stdout().lock().write_all(&text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the man pages.
///
/// # Errors
/// They cannot be written.
pub fn man(chosen: &ManArgs) -> anyhow::Result<ExitCode> {
    // As the generator of all pages does: `help` needs none.
    let command = Cli::command().disable_help_subcommand(true);
    match &chosen.out {
        Some(folder) => {
            create(folder)?;
            clap_mangen::generate_to(command, folder)
                .with_context(|| format!("{}: cannot write there", folder.display()))?;
        }
        None => clap_mangen::Man::new(command).render(&mut io::stdout().lock())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn create(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)
        .with_context(|| format!("{}: cannot create this directory", folder.display()))
}

const NAME: &str = "fairway";
