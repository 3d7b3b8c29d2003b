//! Configs in the locales that runners are really started in. The other cases simulate a locale
//! within one process; here each is a process of its own, which decodes its environment with that
//! locale.

use std::collections::BTreeMap;

use crate::{
    judge::Question,
    ruby::{Oracle, OwnEnvironment},
};

/// The values of `LC_ALL`: as on a configured machine, as under cron, the standard's default, and
/// as in a slim image whose locale was never installed.
const LOCALES: [Option<&str>; 4] = [Some("C.UTF-8"), None, Some("C"), Some("xx_YY.UTF-8")];

/// The value of `X` in all of them.
const LETTERS: &str = "Zo\u{eb}";

/// Texts in which a locale could matter.
const CONFIGS: [&str; 12] = [
    "a: <%= ENV['X'] %>\n",
    "a: s3://acme/<%= ENV.fetch('X') %>/x\n",
    "a: <%= ENV['UNSET'] || ENV['X'] %>\n",
    "a: <%= 'Zo\u{eb}' %>\n",
    "a: <%= ENV['UNSET'] || 'Zo\u{eb}' %>\n",
    "a: Zo\u{eb}\n",
    "Zo\u{eb}: \"Zo\\u00eb\" # Zo\u{eb}\n",
    "a: Zo\u{eb} <%= 'b' %>\n",
    "a: Zo\u{eb} <%= ENV['X'] %>\n",
    "<%# coding: utf-8 %>a: Zo\u{eb} <%= ENV['X'] %>\n",
    "<%# coding: iso-8859-1 %>a: Zo\u{eb}\n",
    "<%# Zo\u{eb} %>a: b\n",
];

/// For each locale, the Rubies started in it, and their requests.
pub(crate) fn cases(rubies: &[String]) -> Vec<(Vec<Oracle>, Vec<Question>)> {
    let of_locale = |locale: Option<&'static str>| {
        let environment = OwnEnvironment { locale, x: LETTERS };
        let oracle =
            |ruby: &String| Oracle::new(ruby, "config.rb").with_own_environment(environment);
        let mut env = BTreeMap::from([("X".to_owned(), LETTERS.to_owned())]);
        env.extend(locale.map(|locale| ("LC_ALL".to_owned(), locale.to_owned())));
        let question =
            |config: &str| Question::Config { config: config.to_owned(), env: env.clone() };
        (rubies.iter().map(oracle).collect(), CONFIGS.iter().copied().map(question).collect())
    };
    LOCALES.into_iter().map(of_locale).collect()
}
