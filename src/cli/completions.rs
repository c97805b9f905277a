//! `smore completions`.

use super::{Cli, print};
use clap::CommandFactory;
use clap_complete::Shell;

/// Arguments of `smore completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
bash: smore completions bash > ~/.local/share/bash-completion/completions/smore
zsh:  smore completions zsh > _smore     in a folder of $fpath
fish: smore completions fish > ~/.config/fish/completions/smore.fish")]
pub struct Args {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Runs `smore completions`.
pub fn run(args: Args) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "smore", &mut script);
    print(String::from_utf8(script)?)
}
