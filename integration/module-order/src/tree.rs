//! The modules of a crate: the file of each, and the module that a path leads to.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use crate::collect::{self, Binding, Collected, Mention};
use crate::sources::{Error, SourceFile};

/// The modules of a crate.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) files: Vec<ModuleFile>,
    /// The number of the file of each module: its own file, or the one that contains it as a block.
    modules: HashMap<Vec<String>, usize>,
    /// The names that each module's `use` lines bind, with their paths.
    names: HashMap<Vec<String>, HashMap<String, Vec<String>>>,
    globs: HashMap<Vec<String>, Vec<Vec<String>>>,
    crate_name: String,
    /// Files that are crates of their own, by their module's path.
    crates: HashSet<Vec<String>>,
}

/// A file, and the paths in it.
#[derive(Debug)]
pub(crate) struct ModuleFile {
    pub(crate) path: PathBuf,
    pub(crate) module: Vec<String>,
    pub(crate) collected: Collected,
    /// It has a `mod` line, or it is a crate of its own.
    pub(crate) is_known: bool,
}

impl ModuleFile {
    /// The module's path in the notation of rows.
    pub(crate) fn name(&self) -> String {
        if self.module.is_empty() { "lib".to_owned() } else { self.module.join("/") }
    }
}

/// The maximum length of a chain of names.
const DEEPEST: u8 = 16;

impl Tree {
    pub(crate) fn new(
        crate_name: &str,
        rows: &[&str],
        files: &[SourceFile],
    ) -> Result<Self, Error> {
        let has_library = files.iter().any(|file| file.module().is_empty());
        let mut collected = Vec::new();
        for file in files {
            let module = match file.module() {
                // Without a library, the program's file is the root.
                parts if !has_library && parts == ["main"] => Vec::new(),
                parts => parts,
            };
            let found = collect::collect(&module, &file.syntax);
            if let Some(line) = found.modules.iter().find_map(|it| it.path_attribute) {
                return Err(Error::PathAttribute { path: file.path.clone(), line });
            }
            collected.push((file.path.clone(), module, found));
        }
        let declared = || collected.iter().flat_map(|(_, _, found)| &found.modules);
        let of_tests: Vec<Vec<String>> =
            declared().filter(|it| it.test_only).map(|it| it.path.clone()).collect();
        let by_line: HashSet<Vec<String>> = declared().map(|it| it.path.clone()).collect();
        let mut tree = Self {
            files: Vec::new(),
            modules: HashMap::new(),
            names: HashMap::new(),
            globs: HashMap::new(),
            crate_name: crate_name.to_owned(),
            crates: HashSet::new(),
        };
        for (path, module, collected) in collected {
            if of_tests.iter().any(|test| module.starts_with(test)) {
                continue;
            }
            let is_declared = module.is_empty() || by_line.contains(&module);
            let is_crate = !is_declared && rows.contains(&module.join("/").as_str());
            if is_crate {
                tree.crates.insert(module.clone());
            }
            let is_known = is_declared || is_crate;
            tree.add(ModuleFile { path, module, collected, is_known });
        }
        Ok(tree)
    }

    fn add(&mut self, file: ModuleFile) {
        let number = self.files.len();
        self.modules.insert(file.module.clone(), number);
        for module in file.collected.modules.iter().filter(|it| it.inline && !it.test_only) {
            self.modules.insert(module.path.clone(), number);
        }
        for mention in &file.collected.mentions {
            let segments = mention.segments.clone();
            match &mention.binding {
                Some(Binding::Name(name)) => {
                    let names = self.names.entry(mention.module.clone()).or_default();
                    names.insert(name.clone(), segments);
                }
                Some(Binding::Glob) => {
                    self.globs.entry(mention.module.clone()).or_default().push(segments);
                }
                None => {}
            }
        }
        self.files.push(file);
    }

    /// The file that a path leads to; none for another crate, a local name, a generic type.
    pub(crate) fn file_of(&self, mention: &Mention) -> Option<usize> {
        let mut path = self.absolute(&mention.module, &mention.segments, 0)?;
        loop {
            if let Some(file) = self.modules.get(&path) {
                return Some(*file);
            }
            path.pop()?;
        }
    }

    fn absolute(&self, module: &[String], segments: &[String], depth: u8) -> Option<Vec<String>> {
        let (first, rest) = segments.split_first()?;
        if depth > DEEPEST {
            return None;
        }
        let joined = |base: &[String], rest: &[String]| Some([base, rest].concat());
        match first.as_str() {
            "crate" => return joined(self.root_of(module), rest),
            "self" => return self.below(module, rest, depth),
            "super" => return self.below(module.split_last()?.1, rest, depth),
            _ => {}
        }
        if self.modules.contains_key([module, std::slice::from_ref(first)].concat().as_slice()) {
            return joined(module, segments);
        }
        if let Some(meant) = self.names.get(module).and_then(|names| names.get(first)) {
            // `use name;` and `use name::name;` of another crate refer to themselves.
            let base = (meant.first() != Some(first))
                .then(|| self.absolute(module, meant, depth + 1))
                .flatten();
            if let Some(base) = base {
                return joined(&base, rest);
            }
        }
        for glob in self.globs.get(module).into_iter().flatten() {
            if let Some(base) = self.absolute(module, glob, depth + 1)
                && self
                    .modules
                    .contains_key([&base, std::slice::from_ref(first)].concat().as_slice())
            {
                return joined(&base, segments);
            }
        }
        (*first == self.crate_name).then(|| rest.to_vec())
    }

    /// The path after `self` or `super`, which may continue with `super`.
    fn below(&self, module: &[String], rest: &[String], depth: u8) -> Option<Vec<String>> {
        match rest.first().map(String::as_str) {
            Some("super") => self.absolute(module, rest, depth + 1),
            _ => Some([module, rest].concat()),
        }
    }

    fn root_of<'a>(&self, module: &'a [String]) -> &'a [String] {
        let crates = (1..=module.len()).map(|length| &module[..length]);
        crates.into_iter().find(|path| self.crates.contains(*path)).unwrap_or_default()
    }
}
