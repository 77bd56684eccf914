//! What is wrong with a command line, in one line: what was expected, what was found, what was probably meant.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

/// The line for a command line that clap refused. `words` are those of the command line after the program's name.
pub fn one_line(error: &Error, program: &Command, words: &[String]) -> String {
    let about = |kind| error.get(kind).map(text).unwrap_or_default();
    let found = about(ContextKind::InvalidArg);
    let (command, path) = command_of(program, words);
    let line = match error.kind() {
        ErrorKind::UnknownArgument if found.starts_with('-') => {
            let options = options(command);
            format!("{path}: expected an option among {options}, found `{found}`")
        }
        ErrorKind::UnknownArgument => {
            let usage = usage(command);
            format!("{path}: expected no further word{usage}, found `{found}`")
        }
        ErrorKind::InvalidSubcommand => {
            let found = about(ContextKind::InvalidSubcommand);
            format!("{path}: expected a command among {}, found `{found}`", commands(command))
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            format!("{path}: expected a command among {}, found none", commands(command))
        }
        ErrorKind::InvalidValue if about(ContextKind::InvalidValue).is_empty() => {
            format!("{path}: expected a value after `{found}`, found none")
        }
        ErrorKind::InvalidValue => {
            let (valid, value) = (about(ContextKind::ValidValue), about(ContextKind::InvalidValue));
            format!("{path}: {found}: expected one of {valid}, found `{value}`")
        }
        ErrorKind::ValueValidation => {
            let value = about(ContextKind::InvalidValue);
            let why = match std::error::Error::source(error) {
                Some(why) if why.is::<std::num::ParseIntError>() => {
                    "expected a whole number".into()
                }
                Some(why) => why.to_string(),
                None => String::new(),
            };
            let known = why.contains("found");
            let value = if known { String::new() } else { format!(", found `{value}`") };
            format!("{path}: {found}: {why}{value}")
        }
        ErrorKind::MissingRequiredArgument => format!("{path}: expected {found}, found nothing"),
        ErrorKind::ArgumentConflict => {
            let other = about(ContextKind::PriorArg);
            if other.is_empty() || other == found {
                format!("{path}: expected {found} once, found it again")
            } else {
                format!("{path}: expected {found} or {other}, found both")
            }
        }
        _ => flat(&error.render().to_string()),
    };
    let meant =
        [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    let meant = meant.into_iter().map(about).find(|s| !s.is_empty());
    match meant {
        Some(meant) => format!("{line}; did you mean `{meant}`?"),
        None => line,
    }
}

fn text(value: &ContextValue) -> String {
    match value {
        ContextValue::String(one) => one.clone(),
        ContextValue::Strings(many) => many.join(", "),
        other => other.to_string(),
    }
}

/// The innermost command that the words name, and how it is called.
fn command_of<'a>(program: &'a Command, words: &[String]) -> (&'a Command, String) {
    let (mut command, mut path) = (program, program.get_name().to_string());
    for word in words {
        let Some(inner) = command.find_subcommand(word) else { continue };
        command = inner;
        path = format!("{path} {word}");
    }
    (command, path)
}

fn options(command: &Command) -> String {
    let long = command.get_arguments().filter(|a| !a.is_hide_set()).filter_map(|a| a.get_long());
    let mut names: Vec<String> = long.map(|name| format!("--{name}")).collect();
    names.push("--help".into());
    names.dedup();
    names.join(", ")
}

fn commands(command: &Command) -> String {
    let names = command.get_subcommands().filter(|c| !c.is_hide_set()).map(Command::get_name);
    names.collect::<Vec<_>>().join(", ")
}

/// ` after <WHAT>`: what the command takes without a dash.
fn usage(command: &Command) -> String {
    let names: Vec<String> = command.get_positionals().map(ToString::to_string).collect();
    if names.is_empty() { String::new() } else { format!(" after {}", names.join(" ")) }
}

/// Clap's own words without its advice.
fn flat(rendered: &str) -> String {
    let lines = rendered.lines().map(str::trim);
    let told =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let line = told.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    line.trim_start_matches("error: ").to_string()
}
