//! The locale that a program would get from its environment.

use std::{
    ffi::OsString,
    process::{Command, Stdio},
};

/// The variables that set the locale's character type, in order of precedence.
const VARIABLES: [&str; 3] = ["LC_ALL", "LC_CTYPE", "LANG"];

/// The variable that sets the locale's character type, and its value.
pub(crate) fn named(env: &dyn Fn(&str) -> Option<OsString>) -> Option<(&'static str, String)> {
    VARIABLES.iter().find_map(|variable| {
        let value = env(variable).filter(|value| !value.is_empty())?;
        Some((*variable, value.to_string_lossy().into_owned()))
    })
}

/// The character set of the locale that the C library gives a program with this environment, such
/// as `UTF-8` or `ANSI_X3.4-1968`. If a variable names a locale that is not installed, the C locale
/// applies.
///
/// Runs the C library's own program `locale`.
///
/// # Errors
/// Why the program failed, on one line.
pub(crate) fn charset(env: &dyn Fn(&str) -> Option<OsString>) -> Result<String, String> {
    let inherited = ["PATH"].map(|name| (name, std::env::var_os(name)));
    let asked = VARIABLES.into_iter().chain(["LOCPATH"]).map(|name| (name, env(name)));
    let variables = inherited.into_iter().chain(asked);
    let output = Command::new("locale")
        .arg("charmap")
        .env_clear()
        .envs(variables.filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("`locale charmap` cannot be run: {error}"))?;
    match String::from_utf8_lossy(&output.stdout).trim() {
        "" => Err(format!("`locale charmap` said nothing ({})", output.status)),
        charset => Ok(charset.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment<'a>(
        variables: &'a [(&'a str, &'a str)],
    ) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| OsString::from(value))
        }
    }

    #[test]
    fn the_c_library_tells_the_character_set_and_the_variables_text_does_not() {
        let charset = |variables| charset(&environment(variables)).unwrap();
        assert_eq!(charset(&[("LC_ALL", "C.UTF-8")]), "UTF-8");
        assert_eq!(charset(&[("LC_ALL", ""), ("LC_CTYPE", "C.UTF-8"), ("LANG", "C")]), "UTF-8");
        let ascii = charset(&[("LC_ALL", "C")]);
        assert_ne!(ascii, "UTF-8");
        assert_eq!(charset(&[("LC_ALL", "xx_YY.UTF-8")]), ascii);
        assert_eq!(charset(&[]), ascii);
    }

    #[test]
    fn the_first_variable_that_is_not_empty_names_the_locale() {
        let variables = [("LC_ALL", ""), ("LANG", "x"), ("LC_CTYPE", "y")];
        assert_eq!(named(&environment(&variables)), Some(("LC_CTYPE", "y".to_owned())));
        assert_eq!(named(&environment(&[])), None);
    }
}
