//! What ARCHITECTURE.md says of the sources: which parts may know which, and that files and functions stay readable.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder of the repository, with their text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let (mut open, mut all) = (vec![root().join(folder)], Vec::new());
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let name = path.strip_prefix(root()).unwrap_or(Path::new("")).display().to_string();
            all.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    all.sort();
    all
}

/// A source without the module of its tests.
fn without_tests(text: &str) -> &str {
    let tests = text.find("\nmod tests {").map(|at| text[..at].rfind('\n').unwrap_or(0));
    &text[..tests.unwrap_or(text.len())]
}

#[test]
fn parts_know_only_what_is_below_them() {
    let forbidden = [
        ("src/sampler/", &["config", "pipeline", "backend", "model", "train", "cli", "api"][..]),
        ("src/program/", &["backend", "model", "train", "config", "query", "graph", "cli", "api"]),
        ("src/backend/", &["model", "sampler", "query", "graph", "train", "eval", "config", "cli", "api"]),
        ("src/model/", &["train", "eval", "pipeline", "cli", "api"]),
        ("src/train/objective/", &["cli", "api", "pipeline", "eval"]),
        ("src/train/", &["cli", "api"]),
        ("src/eval/", &["cli", "api"]),
        ("src/", &["cli"]),
    ];
    for (folder, parts) in forbidden {
        for (name, text) in sources("src").iter().filter(|(name, _)| name.starts_with(folder)) {
            // The program itself.
            if name.starts_with("src/cli") || name == "src/main.rs" || name == "src/lib.rs" {
                continue;
            }
            // Tests may build what they need, and documentation may point anywhere.
            let code = without_tests(text);
            for (number, line) in code.lines().enumerate() {
                let line = line.split("//").next().unwrap();
                assert!(!line.contains("crate::{"), "{name}:{}: a path of its own for each part", number + 1);
                let used = parts.iter().find(|part| {
                    line.match_indices(&format!("crate::{part}")).any(|(at, used)| {
                        !line[at + used.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
                    })
                });
                assert!(used.is_none(), "{name}:{}: {folder} does not know {}", number + 1, used.unwrap());
            }
        }
    }
}

#[test]
fn other_programs_see_the_library_and_one_hidden_module() {
    let library = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let public: Vec<&str> = library.lines().filter(|line| line.starts_with("pub mod")).collect();
    assert_eq!(public, ["pub mod engine {"]);
    assert!(library.contains("#[doc(hidden)]\n#[path = \".\"]\npub mod engine {"));
    for (name, text) in sources("examples") {
        assert!(!text.contains("smore::engine"), "{name}: examples use what other programs see");
    }
}

/// A folder's files are listed in the documentation of its module.
#[test]
fn every_module_lists_its_files() {
    for (name, text) in sources("src") {
        let folder = match name.strip_suffix("/mod.rs") {
            Some(folder) => root().join(folder),
            None if name == "src/lib.rs" => root().join("src"),
            None => root().join(name.trim_end_matches(".rs")),
        };
        if !folder.is_dir() {
            continue;
        }
        let map: String = text.lines().filter(|line| line.starts_with("//!")).collect();
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_stem().unwrap().to_str().unwrap().to_string();
            let is_itself = ["mod", "lib", "main", "tests"].contains(&file.as_str());
            // A backend has the families of the vocabulary, which has the list.
            let is_family = name.starts_with("src/backend/")
                && root().join(format!("src/program/ops/{file}.rs")).is_file();
            let listed =
                is_family || map.contains(&format!("`{file}`")) || map.contains(&format!("`{file}.rs`"));
            assert!(is_itself || listed, "{name} does not list {file}");
        }
    }
}

/// The drawing in ARCHITECTURE.md says which part imports which.
#[test]
fn the_drawing_of_imports_is_true() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let everywhere = ["error", "ids", "math", "rng", "table", "process", "progress"];
    let drawn =
        text.lines().filter_map(|line| line.split_once(" ->")).filter(|(part, _)| !part.trim().is_empty());
    let mut parts = 0;
    for (part, imports) in drawn {
        let part = part.trim();
        if !root().join("src").join(part).is_dir() {
            continue;
        }
        parts += 1;
        let mut used = Vec::new();
        for (name, text) in sources(&format!("src/{part}")) {
            let code = without_tests(&text);
            let code: Vec<&str> = code.lines().map(|line| line.split("//").next().unwrap()).collect();
            let found = code.iter().flat_map(|line| line.split("crate::").skip(1));
            let found =
                found.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap());
            if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                used.extend(found.filter(|used| used.starts_with(char::is_lowercase)).map(String::from));
            }
        }
        used.retain(|used| used != part && !everywhere.contains(&used.as_str()));
        used.sort();
        used.dedup();
        let imports: Vec<&str> = imports.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        assert_eq!(used, imports, "the imports of {part}");
    }
    let folders = std::fs::read_dir(root().join("src")).unwrap();
    let folders = folders.filter(|entry| entry.as_ref().unwrap().path().join("mod.rs").is_file()).count();
    assert_eq!(parts, folders, "the drawing has all parts");
}

/// The same steps in PyTorch refuse options that they do not know: a new one is to be added there.
#[test]
fn the_comparison_with_pytorch_knows_every_option_of_a_model_and_of_training() {
    let programs = ["models.py", "steps.py"].map(|name| root().join("benches/peers").join(name));
    let programs = programs.map(|path| std::fs::read_to_string(path).unwrap()).concat();
    let models = ["gqe", "query2box", "betae", "cone", "rotate", "complex", "distmult", "transe"];
    for model in models {
        let config = smore::engine::config::Config::load(None, &[format!("model.name={model}")]).unwrap();
        let document: toml::Table = config.explicit().to_toml().parse().unwrap();
        for section in ["model", "training"] {
            for key in document[section].as_table().unwrap().keys() {
                let known =
                    programs.contains(&format!("\"{key}\"")) || programs.contains(&format!("{key}=["));
                assert!(known, "benches/peers does not know {section}.{key}");
            }
        }
    }
}

/// ARCHITECTURE.md explains every folder; what files it names there are.
#[test]
fn the_architecture_explains_every_folder() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let folders = std::fs::read_dir(root().join("src")).unwrap().map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| path.join("mod.rs").is_file());
    let mut names: Vec<String> =
        folders.map(|path| format!("src/{}/", path.file_name().unwrap().to_str().unwrap())).collect();
    names.extend(
        ["kernels/", "datasets/", "benches/", "tests/", "fuzz/", "examples/", "configs/"].map(String::from),
    );
    for name in names {
        assert!(text.contains(&format!("`{name}`")), "ARCHITECTURE.md does not explain {name}");
    }
    // Between backticks is code: every second part.
    for code in text.split('`').skip(1).step_by(2) {
        let is_path = code.contains('/') && !code.contains([' ', '*', '{']) && !code.contains("::");
        let from_source = ["", "src/"].iter().any(|folder| root().join(folder).join(code).exists());
        assert!(!is_path || from_source, "ARCHITECTURE.md names {code}, which is not there");
    }
}

#[test]
fn models_and_objectives_are_written_down_without_a_backend() {
    for (name, text) in sources("src/model") {
        // Tables are on a device.
        if name != "src/model/weights.rs" {
            assert!(!text.contains("crate::backend"), "{name}");
        }
    }
}

#[test]
fn files_have_at_most_five_hundred_lines_and_functions_a_hundred() {
    for (name, text) in sources("src").into_iter().chain(sources("kernels")) {
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() <= 500, "{name} has {} lines", lines.len());
        for (first, line) in lines.iter().enumerate().filter(|_| name.ends_with(".rs")) {
            let indent = line.len() - line.trim_start().len();
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some(at) = words.iter().position(|word| *word == "fn").filter(|at| *at < 4) else { continue };
            let is_head =
                |word: &&str| word.starts_with("pub") || ["const", "unsafe", "async"].contains(word);
            // A head without a body ends where it begins.
            let has_body = lines[first..].iter().find(|line| line.ends_with('{') || line.ends_with(';'));
            if !words[..at].iter().all(is_head) || has_body.is_none_or(|line| line.ends_with(';')) {
                continue;
            }
            let end = format!("{}}}", " ".repeat(indent));
            let length = lines[first..].iter().position(|line| *line == end).map_or(1, |last| last + 1);
            assert!(length <= 100, "{name}:{}: {} has {length} lines", first + 1, words[at + 1]);
        }
    }
}

#[test]
fn no_function_takes_more_arguments_than_a_reader_can_tell_apart() {
    for (name, text) in sources("src") {
        assert!(!text.contains("too_many_arguments"), "{name}");
    }
}

/// The name of an operation stands where it is described, where each backend does it, in its kernel, and where programs use it.
#[test]
fn an_operation_stands_in_few_files() {
    let all: Vec<(String, String)> = sources("src").into_iter().chain(sources("kernels")).collect();
    let vocabulary = all.iter().filter(|(name, _)| name.starts_with("src/program/ops/"));
    let mut operations = Vec::new();
    for (_, text) in vocabulary {
        // `Name { operand: In, ... }`, on one line or several.
        let lines: Vec<&str> = text.lines().collect();
        for (first, line) in lines.iter().enumerate() {
            let Some((name, _)) = line.strip_prefix("    ").and_then(|line| line.split_once(" {")) else {
                continue;
            };
            let end = lines[first..].iter().position(|line| line.ends_with('}')).unwrap_or(0);
            let operands = lines[first..=first + end].concat();
            let is_name = name.starts_with(char::is_uppercase) && name.chars().all(char::is_alphanumeric);
            if is_name && (operands.contains(": In") || operands.contains(": Out")) {
                operations.push(name.to_string());
            }
        }
    }
    assert!(operations.len() >= 35, "{operations:?}");
    // Models, objectives and evaluations are written in operations: any number of them may use one. Queries and options know none.
    // The score of Beta distributions has a file of its own in each backend.
    let uses = ["src/model/", "src/train/", "src/eval/", "src/query/", "src/config/"];
    let counts = |name: &str| {
        !name.ends_with("tests.rs")
            && !name.contains("/beta.")
            && !uses.iter().any(|folder| name.starts_with(folder))
    };
    for operation in &operations {
        let stands_in = |(_, text): &&(String, String)| {
            let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap()).collect();
            code.join("\n").split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == operation)
        };
        let files: Vec<&str> =
            all.iter().filter(stands_in).map(|(name, _)| name.as_str()).filter(|name| counts(name)).collect();
        assert!(files.len() <= 6, "{operation}: {files:?}");
    }
}

/// Tests and benchmarks go through all kinds of an operation.
#[test]
fn every_kind_of_an_operation_is_a_case() {
    let cases = std::fs::read_to_string(root().join("tests/common/cases.rs")).unwrap();
    let kinds =
        ["Scoring", "Projection", "Function", "Activation", "Penalty", "Optimizer", "PoolLoss", "LabelLoss"];
    let vocabulary: String = sources("src/program/ops").into_iter().map(|(_, text)| text).collect();
    for kind in kinds {
        let (_, variants) = vocabulary.split_once(&format!("pub enum {kind} {{\n")).expect(kind);
        let (variants, _) = variants.split_once("\n}").unwrap();
        let variants = variants.lines().filter_map(|line| line.strip_prefix("    "));
        let variants: Vec<&str> = variants
            .filter(|line| line.starts_with(char::is_uppercase))
            .map(|line| line.split(|c: char| !c.is_alphanumeric()).next().unwrap())
            .collect();
        assert!(variants.len() >= 2, "{kind}: {variants:?}");
        for variant in variants {
            let name = format!("{kind}::{variant}");
            let stands = cases
                .match_indices(&name)
                .any(|(at, _)| !cases[at + name.len()..].starts_with(char::is_alphanumeric));
            assert!(stands, "tests/common/cases.rs lacks {name}");
        }
    }
}

#[test]
fn a_backend_has_at_most_fifteen_methods() {
    let text = std::fs::read_to_string(root().join("src/backend/mod.rs")).unwrap();
    let (_, rest) =
        text.split_once("pub trait Backend: Sized + Send + Sync + std::fmt::Debug + 'static {").unwrap();
    let methods =
        rest.lines().take_while(|line| *line != "}").filter(|line| line.starts_with("    fn ")).count();
    assert!((10..=15).contains(&methods), "{methods}");
}

/// Files of `train/` know each other in one direction; a folder and a file of the same name count as one.
#[test]
fn there_is_no_circle_between_the_files_of_training() {
    let mut knows: std::collections::BTreeMap<String, std::collections::BTreeSet<String>> =
        Default::default();
    for (name, text) in sources("src/train") {
        let path = name.trim_start_matches("src/train/").trim_end_matches(".rs");
        let part = path.split('/').next().unwrap().to_string();
        if part == "mod" {
            continue;
        }
        let code: Vec<&str> = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap()
            .lines()
            .map(|line| line.split("//").next().unwrap())
            .collect();
        let code = code.join("\n");
        let ways =
            if path.contains('/') { vec!["crate::train::"] } else { vec!["super::", "crate::train::"] };
        let known = knows.entry(part.clone()).or_default();
        for way in ways {
            for rest in code.split(way).skip(1) {
                // `super::{a, b::C}` and `super::a::B`.
                let list = rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap());
                let items = if rest.starts_with('{') { list.split(", ").collect() } else { vec![list] };
                for item in items {
                    let word = item.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                    if root().join(format!("src/train/{word}.rs")).exists() || word == "objective" {
                        known.insert(word.to_string());
                    }
                }
            }
        }
        known.remove(&part);
    }
    assert!(knows.values().map(|known| known.len()).sum::<usize>() > 30, "{knows:?}");
    // Whoever knows nothing that is left can be taken away, until nobody is.
    while !knows.is_empty() {
        let free: Vec<String> =
            knows.iter().filter(|(_, known)| known.is_empty()).map(|(part, _)| part.clone()).collect();
        assert!(!free.is_empty(), "a circle among {knows:?}");
        for part in free {
            knows.remove(&part);
            for known in knows.values_mut() {
                known.remove(&part);
            }
        }
    }
}
