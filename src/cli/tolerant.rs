//! `roundel run --tolerant`: a configuration file and start scripts that have something to tell do
//! not keep a board from starting.
//!
//! Every other way to start refuses such a file: whoever types the command reads the refusal. A
//! board without a screen has nobody who does; it starts with what can be used
//! ([`config::salvage`](crate::config::salvage)) and shows the rest as its problems.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::base::limit;
use crate::base::problem::Problem;
use crate::config::{Config, ConfigError, Overrides, Salvage};

const NEXT_OF_LINE: &str = "correct it and restart the board; until then it goes without";
const NEXT_OF_DOUBT: &str = "correct it and restart the board; until then it goes without, is \
                             never `open`, takes no writes from SOAP or without a key, and \
                             without a key lets no stranger in";

/// Makes a configuration of what can be used of the file, with its problems and those that start
/// scripts left in `scripts`.
///
/// # Errors
/// [`ConfigError`] of a flag: that one the start script got wrong, and no owner could mend it.
pub fn configure(
    file: Option<&Path>,
    scripts: Option<&Path>,
    (flags, data): (Overrides, PathBuf),
) -> Result<Config, ConfigError> {
    let mut problems = Vec::new();
    let salvage = file.map(|path| salvage(path, &mut problems));
    let written = salvage.as_ref().map(|it| it.file.clone());
    let mut config = Config::check(&written.unwrap_or_default(), flags, data)?;
    if salvage.is_some_and(|it| it.is_doubtful) {
        config.close();
    }
    if let Some(path) = scripts {
        problems.extend(of_scripts(path));
    }
    config.tolerant = true;
    config.problems = bounded(problems);
    Ok(config)
}

/// The log cannot start as configured: `config` logs to standard error, and says so.
pub fn without_log(config: &mut Config, failure: &Failure) {
    config.log.file = None;
    config.problems.push(Problem {
        file: None,
        line: None,
        reason: failure.what().to_owned(),
        remedy: "until then the log is that of standard error".to_owned(),
    });
}

fn salvage(path: &Path, problems: &mut Vec<Problem>) -> Salvage {
    let called = path.display().to_string();
    let salvage = match super::run::text_of(path) {
        Ok(text) => Salvage::of(&text),
        Err(error) => {
            let reason = format!("it cannot be read: {error}");
            problems.push(Problem::of_file(&called, None, &reason, NEXT_OF_DOUBT));
            return Salvage::of_nothing();
        }
    };
    let next = match salvage.is_doubtful {
        true => NEXT_OF_DOUBT,
        false => NEXT_OF_LINE,
    };
    problems.extend(salvage.errors.iter().map(|error| {
        let line = Some(error.line()).filter(|line| *line > 0);
        Problem::of_file(&called, line, &error.reason(), next)
    }));
    if salvage.errors.len() >= limit::CONFIG_PROBLEMS_MAX {
        let reason = "so much of it is wrong that none of it is used";
        problems.push(Problem::of_file(&called, None, reason, NEXT_OF_DOUBT));
    }
    salvage
}

/// A problem a line; no file, no problem.
fn of_scripts(path: &Path) -> Vec<Problem> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| {
        file.take(limit::PROBLEM_FILE_BYTES_MAX)
            .read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes)
            .lines()
            .filter_map(Problem::from_line)
            .collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let reason = format!("what the start scripts found cannot be read: {error}");
            vec![Problem::of_file(
                &path.display().to_string(),
                None,
                &reason,
                "",
            )]
        }
    }
}

/// At most [`limit::PROBLEMS_MAX`], the last of which counts those that are left out.
fn bounded(mut problems: Vec<Problem>) -> Vec<Problem> {
    let left_out = problems.len().saturating_sub(limit::PROBLEMS_MAX - 1);
    if problems.len() > limit::PROBLEMS_MAX {
        problems.truncate(limit::PROBLEMS_MAX - 1);
        let told = format!("{left_out} more problems; put these right first");
        problems.extend(Problem::from_line(&told));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::access::Scope;

    fn configured(text: Option<&[u8]>, scripts: Option<&str>) -> Config {
        let temp = tempfile::tempdir().unwrap();
        let (file, told) = (
            temp.path().join("roundel.toml"),
            temp.path().join("problem"),
        );
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        if let Some(scripts) = scripts {
            std::fs::write(&told, scripts).unwrap();
        }
        let flags = (Overrides::default(), PathBuf::from("/d"));
        configure(Some(&file), Some(&told), flags).unwrap()
    }

    #[test]
    fn a_good_file_is_used_as_without_tolerance() {
        let config = configured(Some(b"open = true\n"), None);
        assert!(config.open && config.pairs && config.tolerant);
        assert_eq!(config.problems, []);
    }

    #[test]
    fn a_bad_setting_is_left_out_with_its_line_and_what_to_do() {
        let config = configured(Some(b"name = \"a\"\nport = \"x\"\n"), None);
        assert_eq!(config.name.unwrap().as_str(), "a");
        assert!(config.pairs, "a port says nothing of strangers");
        let [problem] = &config.problems[..] else {
            panic!("{:?}", config.problems);
        };
        assert_eq!(problem.line, Some(2));
        assert!(problem.file.as_ref().unwrap().ends_with("roundel.toml"));
        assert!(problem.reason.starts_with("port = \"x\" is not possible"));
        assert!(problem.remedy.starts_with("correct it and restart"));
    }

    #[test]
    fn a_file_that_may_have_said_more_closes_the_board() {
        for text in [
            &b"open = true\nkeyfile = \"/k\"\n"[..],
            b"open = true\nloopback \"read\"\n",
            b"open = true\n\xff\n",
            b"open = 5\n",
        ] {
            let config = configured(Some(text), None);
            assert!(
                !config.open && !config.pairs && !config.soap_writes,
                "{text:?}"
            );
            assert_eq!(config.loopback, Scope::Read);
            assert!(!config.problems.is_empty());
        }
        let config = configured(None, None);
        assert!(!config.pairs && config.problems[0].reason.contains("cannot be read"));
    }

    #[test]
    fn problems_of_scripts_are_told_and_bounded() {
        let config = configured(Some(b""), Some("boot: it is gone; mend it\n\n"));
        assert_eq!(config.problems.len(), 1);
        assert_eq!(config.problems[0].remedy, "mend it");
        assert!(config.pairs);
        let many = "data: damaged\n".repeat(100);
        let config = configured(Some(b""), Some(&many));
        assert_eq!(config.problems.len(), limit::PROBLEMS_MAX);
        let last = config.problems.last().unwrap();
        assert!(last.reason.starts_with("69 more problems"), "{last}");
    }

    #[test]
    fn a_flag_that_is_refused_is_refused_all_the_same() {
        let flags = Overrides {
            port: Some(1_900),
            ..Overrides::default()
        };
        configure(None, None, (flags, PathBuf::from("/d"))).unwrap_err();
    }
}
