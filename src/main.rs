//! The `smore` command; all of it is in [`smore::cli`].

/// Ends the process with an error where there is no memory left.
#[global_allocator]
static ALLOCATOR: smore::cli::memory::Allocator = smore::cli::memory::Allocator;

fn main() -> std::process::ExitCode {
    smore::cli::main()
}
