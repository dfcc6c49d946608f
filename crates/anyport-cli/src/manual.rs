//! `anyport man` and `anyport completions SHELL`: made from the definitions of the command line, so
//! that they are never behind it.

use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::ending::Ending;

/// Writes a page for each command into a directory, or all into one on standard output.
pub(crate) fn pages(args: &ManArgs) -> Ending {
    let mut all = Vec::new();
    collect(Cli::command(), "anyport", &mut all);
    let result = match &args.dir {
        Some(dir) => all.iter().try_for_each(|(name, command)| write_page(dir, name, command)),
        None => write_whole(&all, &mut io::stdout().lock()),
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Ending::Failed(format!("cannot write the man page: {error}"))
        }
        _ => Ending::Well,
    }
}

/// Prints the completions of a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Ending {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "anyport", &mut script);
    match io::stdout().lock().write_all(&script) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Ending::Failed(format!("cannot write the completions: {error}"))
        }
        _ => Ending::Well,
    }
}

/// Every command that does something, under its whole name.
fn collect(command: Command, name: &str, all: &mut Vec<(String, Command)>) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let sub_name = format!("{name}-{}", sub.get_name());
        collect(sub.clone(), &sub_name, all);
    }
    let typed = name.replace('-', " ");
    let command = command.name(name.to_owned()).bin_name(typed).version(env!("CARGO_PKG_VERSION"));
    all.insert(0, (name.to_owned(), command));
}

fn write_page(dir: &Path, name: &str, command: &Command) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    std::fs::write(dir.join(format!("{name}.1")), page)
}

/// One page: the program, then every command's options.
fn write_whole(all: &[(String, Command)], to: &mut impl Write) -> io::Result<()> {
    for (number, (name, command)) in all.iter().enumerate() {
        let man = Man::new(command.clone());
        if number == 0 {
            man.render(to)?;
            continue;
        }
        writeln!(to, ".SH \"{}\"", name.replace('-', " ").to_uppercase())?;
        man.render_description_section(to)?;
        man.render_synopsis_section(to)?;
        man.render_options_section(to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let mut all = Vec::new();
        collect(Cli::command(), "anyport", &mut all);
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[0], "anyport");
        for name in ["anyport-bench", "anyport-bench-compare", "anyport-serve-echo"] {
            assert!(names.contains(&name), "{name} of {names:?}");
        }
    }
}
