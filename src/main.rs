//! The `smore` command; all of it is in [`smore::cli`].

fn main() -> std::process::ExitCode {
    smore::cli::main()
}
