//! What clap says of wrong usage, in words for people, and where an option of the configuration is to be found.

use crate::config::keys::{Allowed, Key, allowed, help, key_of};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches};
use std::fmt::Write;

/// What Rust calls a value that cannot be read, and what it is.
const WORDS: [(&str, &str); 8] = [
    ("invalid digit found in string", "expected a whole number"),
    ("cannot parse integer from empty string", "expected a whole number"),
    ("number too large to fit in target type", "the number is too large"),
    ("number too small to fit in target type", "the number is too small"),
    ("number would be zero for non-zero type", "expected a whole number from 1 on"),
    ("invalid float literal", "expected a number"),
    ("cannot parse float from empty string", "expected a number"),
    ("provided string was not `true` or `false`", "expected true or false"),
];

/// Parses the arguments of the process; wrong usage ends it with 2, help and version with 0.
pub(super) fn parse<C: CommandFactory + FromArgMatches>() -> C {
    let matches = C::command().try_get_matches();
    let parsed = matches.and_then(|matches| C::from_arg_matches(&matches));
    parsed.unwrap_or_else(|error| {
        let code = error.exit_code();
        let error = if error.kind() == ErrorKind::UnknownArgument { with_key(error) } else { error };
        if error.use_stderr() {
            // Styles are for terminals; clap finds out which is one.
            let text = error.render();
            let styled = std::io::IsTerminal::is_terminal(&std::io::stderr());
            let text = if styled { text.ansi().to_string() } else { text.to_string() };
            super::note(plain_words(text).trim_end());
        } else {
            let _ = error.print();
        }
        std::process::exit(code)
    })
}

fn plain_words(text: String) -> String {
    WORDS.iter().fold(text, |text, (rust, plain)| text.replace(rust, plain))
}

/// Adds the key that an unknown option may mean, as `--set` takes it.
fn with_key(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return error };
    let Some(key) = key_of(option) else { return error };
    // The command's own usage tells whether it has a configuration.
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    let takes_configuration = ["train", "bench"].iter().any(|name| usage.contains(&format!(" {name}")));
    let tip = match takes_configuration {
        true => format!("use --set {key}={}", placeholder(key)),
        false => {
            format!("{key} belongs to the run: it is set by smore train --set {key}={}", placeholder(key))
        }
    };
    error.remove(ContextKind::SuggestedArg);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}

/// What stands for a value.
fn placeholder(key: &str) -> &'static str {
    match allowed(key) {
        Some(Allowed::Whole(..) | Allowed::Number(_)) => "NUMBER",
        Some(Allowed::Flag) => "true",
        _ => "NAME",
    }
}

/// `smore train --help-config`: every key with its default, what it takes and what it means, `width` columns wide.
pub(super) fn configuration(width: usize) -> String {
    let mut text = String::from(
        "Keys of the configuration, for --set KEY=VALUE and for files that --config reads. Of keys without a default it \
         depends on the model or the objective.\n",
    );
    text = wrap(&text, width, "");
    let mut section = "";
    for Key { key, default, allowed, meaning } in &help() {
        let (of, _) = key.split_once('.').expect("a path of two keys");
        if of != section {
            section = of;
            let _ = writeln!(text, "\n[{section}]");
        }
        let default = default.as_ref().map(|value| format!(" = {value}")).unwrap_or_default();
        let _ = write!(text, "\n{key}{default}\n{}", wrap(allowed, width, "    takes "));
        text += &wrap(meaning, width, "    ");
    }
    text
}

/// A paragraph in lines of at most `width` columns; the first begins with `first`, the others are as far to the right as its
/// blanks are.
fn wrap(paragraph: &str, width: usize, first: &str) -> String {
    let indent = " ".repeat(first.len() - first.trim_start().len());
    let (mut text, mut line) = (String::new(), first.trim_end_matches(|c| c != ' ').to_string());
    line.push_str(first[line.len()..].trim_end());
    for word in paragraph.split_whitespace() {
        if line.chars().count() + word.chars().count() + 1 > width && line.trim() != "" {
            text += &(line + "\n");
            line = indent.clone();
        }
        if !line.is_empty() && !line.ends_with(' ') {
            line.push(' ');
        }
        line += word;
    }
    text + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_other_programs_lead_to_keys() {
        let found =
            ["--lr", "--learning-rate", "--learning_rate", "--warmup", "--optimizer", "--model.dim", "--xyz"];
        assert_eq!(
            found.map(key_of),
            [
                Some("training.learning_rate"),
                Some("training.learning_rate"),
                Some("training.learning_rate"),
                Some("training.warm_up"),
                Some("training.optimizer"),
                Some("model.dim"),
                None
            ]
        );
    }

    #[test]
    fn the_help_of_the_configuration_fits_any_width() {
        for width in [60, 100] {
            let text = configuration(width);
            assert!(
                text.lines().all(|line| line.chars().count() <= width || line.starts_with("sampling.")),
                "{text}"
            );
        }
        let text = configuration(100);
        let expected = "\nmodel.dim = 200\n    takes a whole number from 1 to 1,048,576\n    Embedding dimension d; complex \
                        numbers for complex and rotate.\n";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("\nmodel.gamma\n    takes a number above -2\n"), "{text}");
    }
}
