//! The configuration on the command line: its flags, and `fairway config`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use fairway_node::config::{self, Flag, Sources};

use crate::{print, print_json};

/// Where the configuration comes from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Configuration")]
pub struct ConfigArgs {
    /// The configuration file. [default: FAIRWAY_CONFIG; without it there is none]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the log and the keys are.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// An Ethereum endpoint. Other users of this machine see it in the list of processes: give one with a token in it by file or as
    /// FAIRWAY_RPC_URL.
    #[arg(long, value_name = "URL")]
    rpc_url: Option<String>,
    /// The IP address and port where peers reach the node.
    #[arg(long, value_name = "IP:PORT")]
    p2p_listen: Option<String>,
    /// How much is told: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// The port of the metrics.
    #[arg(long, value_name = "PORT")]
    metrics_port: Option<String>,
    /// Set any key, with its section: chain.quorum=2. May be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

/// What can be asked about it.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read the configuration as `run` would, and say what is wrong.
    #[command(after_help = "Example:\n  fairway config check --config fairway.toml")]
    Check {
        #[command(flatten)]
        sources: ConfigArgs,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Print every key with its value and with what set it. Secrets are not shown.
    #[command(
        after_help = "Examples:\n  fairway config show --config fairway.toml\n  fairway config show --json | jq '.[] | select(.source != \"default\")'"
    )]
    Show {
        #[command(flatten)]
        sources: ConfigArgs,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Print an annotated configuration with every key.
    #[command(after_help = "Example:\n  fairway config sample > fairway.toml")]
    Sample,
    /// Print the JSON Schema of configuration files, for editors.
    Schema {
        /// Write the tables of this page of the book anew instead.
        #[arg(long, value_name = "PAGE")]
        markdown: Option<PathBuf>,
    },
}

impl ConfigArgs {
    /// These flags over the environment of this process, over the file.
    pub fn sources(&self) -> Sources {
        let file =
            self.config.clone().or_else(|| std::env::var_os("FAIRWAY_CONFIG").map(PathBuf::from));
        let named = [
            ("data_dir", &self.data_dir),
            ("rpc_url", &self.rpc_url),
            ("p2p_listen", &self.p2p_listen),
            ("log_level", &self.log_level),
            ("metrics_port", &self.metrics_port),
        ];
        let named = named.into_iter().filter_map(|(key, value)| {
            let name = format!("--{}", key.replace('_', "-"));
            Some(Flag { name, key: key.to_string(), value: value.clone()? })
        });
        let set = self.set.iter().map(|(key, value)| Flag {
            name: "--set".to_string(),
            key: key.clone(),
            value: value.clone(),
        });
        Sources { flags: named.chain(set).collect(), ..Sources::of_process(file.as_deref()) }
    }
}

/// Does what was asked.
///
/// # Errors
/// A configuration that is refused, a page that cannot be written.
pub fn carry_out(command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check { sources, json } => {
            let loaded = config::load(&sources.sources())?;
            if *json {
                print_json(&serde_json::json!({ "ok": true, "notes": loaded.notes }))?;
            } else {
                let notes: String = loaded.notes.iter().map(|n| format!("{n}\n")).collect();
                print(&format!("{notes}the configuration is good\n"))?;
            }
        }
        ConfigCommand::Show { sources, json } => {
            let loaded = config::load(&sources.sources())?;
            if *json {
                print_json(&loaded.settings)?;
            } else {
                print(&config::settings_text(&loaded.settings))?;
            }
        }
        ConfigCommand::Sample => print(&config::sample(&BTreeMap::new()))?,
        ConfigCommand::Schema { markdown: None } => print_json(&config::schema())?,
        ConfigCommand::Schema { markdown: Some(page) } => {
            let old = std::fs::read_to_string(page)
                .with_context(|| format!("{}: cannot read this page", page.display()))?;
            let new = config::reference(&old)
                .with_context(|| format!("{}: has no marks for the tables", page.display()))?;
            std::fs::write(page, new)
                .with_context(|| format!("{}: cannot write this page", page.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `KEY=VALUE`.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, such as chain.quorum=2")?;
    Ok((key.trim().to_string(), value.to_string()))
}
