//! Finds the imports, the paths and the modules of one file.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, UseTree, Visibility};

/// What one file contains about modules.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) mentions: Vec<Mention>,
    pub(crate) modules: Vec<DeclaredModule>,
    pub(crate) types: Vec<PublicType>,
    /// Only `mod` and `use` lines: a façade, if the file has modules below it.
    pub(crate) is_facade: bool,
}

/// A path in the source.
#[derive(Debug)]
pub(crate) struct Mention {
    /// The module, in the file or below it, that contains the path.
    pub(crate) module: Vec<String>,
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// Set for a `use`.
    pub(crate) binding: Option<Binding>,
}

impl Mention {
    /// Whether it has an explicit start, instead of starting with a name in scope.
    pub(crate) fn is_anchored(&self) -> bool {
        self.segments.first().is_some_and(|it| matches!(it.as_str(), "crate" | "self" | "super"))
    }
}

#[derive(Debug)]
pub(crate) enum Binding {
    Name(String),
    Glob,
}

/// A `mod` line or block.
#[derive(Debug)]
pub(crate) struct DeclaredModule {
    pub(crate) path: Vec<String>,
    pub(crate) inline: bool,
    /// Compiled for tests only.
    pub(crate) test_only: bool,
    /// The line of a `#[path]` attribute.
    pub(crate) path_attribute: Option<usize>,
}

/// A type declared with any `pub`.
#[derive(Debug)]
pub(crate) struct PublicType {
    pub(crate) name: String,
    pub(crate) line: usize,
}

/// Collects from the file of this module.
pub(crate) fn collect(module: &[String], syntax: &syn::File) -> Collected {
    let mut collector = Collector { module: module.to_vec(), found: Collected::default() };
    collector.visit_file(syntax);
    let mut lines = syntax.items.iter().filter(|item| !is_test_only(attributes(item)));
    collector.found.is_facade = lines.all(|item| match item {
        Item::Mod(module) => module.content.is_none(),
        Item::Use(_) => true,
        _ => false,
    });
    collector.found
}

struct Collector {
    module: Vec<String>,
    found: Collected,
}

impl Collector {
    fn mention(&mut self, segments: Vec<String>, line: usize, binding: Option<Binding>) {
        self.found.mentions.push(Mention { module: self.module.clone(), segments, line, binding });
    }

    fn use_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &str| {
            let mut segments = before.to_vec();
            // `a::{self}` is `a`.
            if name != "self" || before.is_empty() {
                segments.push(name.to_owned());
            }
            segments
        };
        match tree {
            UseTree::Path(path) => self.use_tree(&with(&path.ident.to_string()), &path.tree),
            UseTree::Name(name) => {
                let line = name.ident.span().start().line;
                let segments = with(&name.ident.to_string());
                let binding = segments.last().cloned().map(Binding::Name);
                self.mention(segments, line, binding);
            }
            UseTree::Rename(rename) => {
                let line = rename.ident.span().start().line;
                let binding = Binding::Name(rename.rename.to_string());
                self.mention(with(&rename.ident.to_string()), line, Some(binding));
            }
            UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                self.mention(before.to_vec(), line, Some(Binding::Glob));
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.use_tree(before, tree);
                }
            }
        }
    }

    /// Paths in unparsed tokens: arguments of macros and of attributes.
    fn tokens(&mut self, tokens: TokenStream, in_attribute: bool) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(tree) = trees.get(at) {
            match tree {
                TokenTree::Group(group) => self.tokens(group.stream(), in_attribute),
                TokenTree::Literal(literal) if in_attribute => {
                    self.path_in_text(&literal.to_string(), literal.span().start().line);
                }
                TokenTree::Ident(ident) if ident == "use" => {
                    if let Some((tree, after)) = use_in_tokens(&trees[at + 1..]) {
                        self.use_tree(&[], &tree);
                        at += after;
                    }
                }
                TokenTree::Ident(ident) => {
                    let mut segments = vec![ident.to_string()];
                    while is_separator(&trees, at + 1)
                        && let Some(TokenTree::Ident(next)) = trees.get(at + 3)
                    {
                        segments.push(next.to_string());
                        at += 3;
                    }
                    if segments.len() > 1 {
                        self.mention(segments, ident.span().start().line, None);
                    }
                }
                // Whatever follows a separator is the rest of another path: `<T>::default`.
                TokenTree::Punct(_) if is_separator(&trees, at) => {
                    at +=
                        if matches!(trees.get(at + 2), Some(TokenTree::Ident(_))) { 2 } else { 1 };
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// `with = "crate::time_format"`, as in serde attributes.
    fn path_in_text(&mut self, literal: &str, line: usize) {
        let Ok(text) = syn::parse_str::<syn::LitStr>(literal) else { return };
        let Ok(path) = text.parse::<syn::Path>() else { return };
        let segments: Vec<String> = path.segments.iter().map(|it| it.ident.to_string()).collect();
        if segments.len() > 1 && path.leading_colon.is_none() {
            self.mention(segments, line, None);
        }
    }

    fn public_type(&mut self, visibility: &Visibility, name: &syn::Ident) {
        if !matches!(visibility, Visibility::Inherited) {
            let line = name.span().start().line;
            self.found.types.push(PublicType { name: name.to_string(), line });
        }
    }
}

/// Whether `::` is at this position.
fn is_separator(trees: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize| match trees.get(at) {
        Some(TokenTree::Punct(punct)) if punct.as_char() == ':' => Some(punct.spacing()),
        _ => None,
    };
    colon(at) == Some(Spacing::Joint) && colon(at + 1).is_some()
}

/// The tree of a `use` in a macro's argument, and its number of tokens.
fn use_in_tokens(trees: &[TokenTree]) -> Option<(UseTree, usize)> {
    let end = trees
        .iter()
        .position(|it| matches!(it, TokenTree::Punct(punct) if punct.as_char() == ';'))?;
    // The parser needs `crate` for `$crate`.
    let plain = trees[..end]
        .iter()
        .filter(|it| !matches!(it, TokenTree::Punct(punct) if punct.as_char() == '$'))
        .cloned();
    Some((syn::parse2(plain.collect()).ok()?, end))
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(_) => {}
            item if is_test_only(attributes(item)) => return,
            Item::Enum(it) => self.public_type(&it.vis, &it.ident),
            Item::Struct(it) => self.public_type(&it.vis, &it.ident),
            Item::Trait(it) => self.public_type(&it.vis, &it.ident),
            Item::Type(it) => self.public_type(&it.vis, &it.ident),
            Item::Union(it) => self.public_type(&it.vis, &it.ident),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let test_only = is_test_only(&item.attrs);
        let mut path = self.module.clone();
        path.push(item.ident.to_string());
        self.found.modules.push(DeclaredModule {
            path: path.clone(),
            inline: item.content.is_some(),
            test_only,
            path_attribute: item
                .attrs
                .iter()
                .find(|it| it.path().is_ident("path"))
                .map(|it| it.pound_token.spans[0].start().line),
        });
        if !test_only {
            let outer = std::mem::replace(&mut self.module, path);
            visit::visit_item_mod(self, item);
            self.module = outer;
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        // `use ::name` is another crate.
        if item.leading_colon.is_none() {
            self.use_tree(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            let segments = path.segments.iter().map(|it| it.ident.to_string()).collect();
            let line = path.segments[0].ident.span().start().line;
            self.mention(segments, line, None);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone(), false);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        match &attribute.meta {
            Meta::Path(path) => self.visit_path(path),
            Meta::List(list) => {
                self.visit_path(&list.path);
                self.tokens(list.tokens.clone(), true);
            }
            // A doc comment contains references for readers, not dependencies of the code.
            Meta::NameValue(pair) if pair.path.is_ident("doc") => {}
            Meta::NameValue(pair) => self.visit_expr(&pair.value),
        }
    }

    // `pub(in crate::a)` is a visibility, not a dependency.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Const(it) => &it.attrs,
            syn::ImplItem::Fn(it) => &it.attrs,
            syn::ImplItem::Type(it) => &it.attrs,
            syn::ImplItem::Macro(it) => &it.attrs,
            _ => &Vec::new(),
        };
        if !is_test_only(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !is_test_only(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_field_value(&mut self, field: &'ast syn::FieldValue) {
        if !is_test_only(&field.attrs) {
            visit::visit_field_value(self, field);
        }
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        if !is_test_only(&variant.attrs) {
            visit::visit_variant(self, variant);
        }
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if !is_test_only(&arm.attrs) {
            visit::visit_arm(self, arm);
        }
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if !is_test_only(&local.attrs) {
            visit::visit_local(self, local);
        }
    }
}

/// Whether it exists for tests alone: `#[test]`, or a `#[cfg]` that never holds without `test`.
fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => needs_test(list.tokens.clone()),
        _ => false,
    })
}

/// `test`, or `all(…)` with it.
fn needs_test(condition: TokenStream) -> bool {
    let trees: Vec<TokenTree> = condition.into_iter().collect();
    match trees.as_slice() {
        [TokenTree::Ident(name)] => name == "test",
        [TokenTree::Ident(name), TokenTree::Group(group)]
            if name == "all" && group.delimiter() == Delimiter::Parenthesis =>
        {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            inner
                .split(|it| matches!(it, TokenTree::Punct(punct) if punct.as_char() == ','))
                .any(|part| needs_test(part.iter().cloned().collect()))
        }
        _ => false,
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(it) => &it.attrs,
        Item::Enum(it) => &it.attrs,
        Item::ExternCrate(it) => &it.attrs,
        Item::Fn(it) => &it.attrs,
        Item::ForeignMod(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Macro(it) => &it.attrs,
        Item::Mod(it) => &it.attrs,
        Item::Static(it) => &it.attrs,
        Item::Struct(it) => &it.attrs,
        Item::Trait(it) => &it.attrs,
        Item::TraitAlias(it) => &it.attrs,
        Item::Type(it) => &it.attrs,
        Item::Union(it) => &it.attrs,
        Item::Use(it) => &it.attrs,
        _ => &[],
    }
}
