//! What is said of a command line that cannot be understood.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _};

use crate::cli::Cli;
use crate::ui::ExitCode;

/// Prints what clap says of the command line (to stdout, where it was asked for help), its last line as every
/// error's.
pub fn print_usage(mut error: clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Where stdout is closed there is nobody left to tell.
        let _ = error.print();
        return ExitCode::Ok;
    }
    // That an option might have been meant as the name of a file is the least likely of all, where there is none.
    let is_file = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => Path::new(argument).exists(),
        _ => false,
    };
    if let Some(tips) = error.remove(ContextKind::Suggested) {
        let tips = match tips {
            ContextValue::StyledStrs(mut tips) => {
                tips.retain(|tip| is_file || !tip.to_string().starts_with("to pass "));
                ContextValue::StyledStrs(tips)
            }
            tips => tips,
        };
        if !matches!(&tips, ContextValue::StyledStrs(tips) if tips.is_empty()) {
            error.insert(ContextKind::Suggested, tips);
        }
    }
    if let Some((argument, name)) = of_environment(&error) {
        error.insert(
            ContextKind::InvalidArg,
            ContextValue::String(format!("{argument} (from {name} in the environment)")),
        );
    }
    let more = match elsewhere(&error) {
        Some((option, commands)) => format!("help: {option} belongs to {commands}; for more, try"),
        None => "help: for more, try".to_owned(),
    };
    let text = error.render();
    let text = match io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => text.ansi().to_string(),
        false => text.to_string(),
    };
    let text = text.replace("For more information, try", &more);
    let _ = io::stderr().lock().write_all(text.as_bytes());
    ExitCode::Usage
}

/// The option whose value cannot be, and the variable of the environment that gave it, where the command line did not.
fn of_environment(error: &clap::Error) -> Option<(String, String)> {
    if !matches!(
        error.kind(),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation
    ) {
        return None;
    }
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let long = argument.strip_prefix("--")?.split([' ', '=']).next()?;
    let name = variable(long);
    std::env::var_os(&name)?;
    let option = format!("--{long}");
    let mut words = std::env::args();
    let is_given = words.any(|word| word == option || word.starts_with(&format!("{option}=")));
    (!is_given).then(|| (argument.clone(), name))
}

/// The variable of the environment that stands for an option of `train`.
pub fn variable(long: &str) -> String {
    format!("REKINDLE_{}", long.replace('-', "_").to_uppercase())
}

/// The variables that gave what an error speaks of, where the environment did and not the command line.
pub fn blamed(matches: &ArgMatches, message: &str) -> Option<String> {
    let (command, given) = matches.subcommand()?;
    if command != "train" {
        return None;
    }
    let is_named = |long: &str| {
        let option = format!("--{long}");
        let mut rest = message.split(&option).skip(1);
        rest.any(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '-'))
    };
    let names = given.ids().filter_map(|id| {
        let long = id.as_str().replace('_', "-");
        let source = given.value_source(id.as_str());
        (source == Some(ValueSource::EnvVariable) && is_named(&long)).then(|| variable(&long))
    });
    let names: Vec<String> = names.collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// An option that the command does not have, and the commands that do.
fn elsewhere(error: &clap::Error) -> Option<(String, String)> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let long = option.strip_prefix("--")?;
    let program = Cli::command();
    let has = |command: &&clap::Command| {
        let mut arguments = command.get_arguments();
        arguments.any(|argument| argument.get_long() == Some(long))
    };
    let commands = program.get_subcommands().filter(has);
    let commands: Vec<_> = commands
        .map(|command| format!("`{}`", command.get_name()))
        .collect();
    (!commands.is_empty()).then(|| (option.clone(), commands.join(", ")))
}
