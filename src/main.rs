//! The `roundel` program: hands the arguments to [`roundel::cli`] and exits with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    roundel::cli::main(std::env::args_os())
}
