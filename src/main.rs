//! The `smore` command; all of it is in [`smore::engine::cli`].

/// Ends the process with an error where there is no memory left.
#[global_allocator]
static ALLOCATOR: smore::engine::cli::memory::Allocator = smore::engine::cli::memory::Allocator;

fn main() -> std::process::ExitCode {
    smore::engine::cli::main()
}
