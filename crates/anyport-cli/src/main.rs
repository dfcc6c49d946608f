//! The program `anyport`: servers, a load generator, and a demo that compares them.
//!
//! `args` defines the command line; `serve`, `bench`, `demo` and `manual` are the commands.
#![deny(unsafe_code)]

mod args;
mod bench;
mod congestion;
mod demo;
mod ending;
mod header;
mod interrupt;
mod manual;
mod process;
mod progress;
mod serve;
mod units;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command, Serve};
use ending::Ending;
use interrupt::Interrupt;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let descriptors = process::raise_descriptor_limit();
    let ending = match Interrupt::install() {
        Err(why) => Ending::Failed(why),
        Ok(interrupt) => match &cli.command {
            Command::Serve(Serve::Echo(args)) => serve::echo(args, &interrupt),
            Command::Bench(args) => bench::run(args, &interrupt),
            Command::Demo(args) => demo::run(args, &interrupt, descriptors),
            Command::Man(args) => manual::pages(args),
            Command::Completions(args) => manual::completions(args),
        },
    };
    ending.report()
}
