// SPDX-License-Identifier: LGPL-2.1-or-later
//! What a header declares: types with their layout, enum values, constants, prototypes. bindgen translates the C, and
//! each item becomes a line of text without the names of arguments, which are no part of an interface.

use crate::allowed;
use crate::report::Report;
use quote::ToTokens;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use syn::visit_mut::{self, VisitMut};
use syn::{ForeignItem, Item};

/// One header as the compiler sees it.
pub struct Header {
    /// Kind and name of each item, and the item.
    items: BTreeMap<String, String>,
    /// Functions and variables that a shared object must export.
    pub symbols: BTreeSet<String>,
}

/// The items that `include/qb/NAME` itself declares.
pub fn of(include: &Path, name: &str) -> Result<Header, String> {
    let external = parse(include, name, false)?;
    let mut header = Header { items: BTreeMap::new(), symbols: BTreeSet::new() };
    for item in external.items {
        if let Item::ForeignMod(block) = &item {
            header.symbols.extend(block.items.iter().filter_map(|item| match item {
                ForeignItem::Fn(f) => Some(f.sig.ident.to_string()),
                ForeignItem::Static(v) => Some(v.ident.to_string()),
                _ => None,
            }));
        }
    }
    let all = parse(include, name, true)?.items;
    let mut names = OtherNames(BTreeMap::new());
    for item in &all {
        // `typedef struct x x_t;`
        if let Item::Type(t) = item
            && let syn::Type::Path(target) = &*t.ty
            && let Some(target) = target.path.get_ident()
        {
            names.0.insert(t.ident.clone(), target.clone());
        }
    }
    for mut item in all {
        if let Item::ForeignMod(_) = item {
            names.visit_item_mut(&mut item);
        }
        header.add(item);
    }
    Ok(header)
}

fn parse(include: &Path, name: &str, inline_functions: bool) -> Result<syn::File, String> {
    let text = bindgen::builder()
        .header_contents("one.h", &format!("#include <qb/{name}>\n"))
        .clang_arg(format!("-I{}", include.display()))
        .allowlist_file(format!(".*/qb/{}", name.replace('.', "\\.")))
        .generate_inline_functions(inline_functions)
        .allowlist_recursively(false)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .translate_enum_integer_types(true)
        .derive_copy(false)
        .derive_debug(false)
        .generate_comments(false)
        .layout_tests(true)
        .formatter(bindgen::Formatter::None)
        .generate()
        .map_err(|e| format!("{name}: {e}"))?
        .to_string();
    syn::parse_file(&text).map_err(|e| format!("{name}: bindgen's output: {e}"))
}

impl Header {
    fn add(&mut self, mut item: Item) {
        Anonymous.visit_item_mut(&mut item);
        let text = |tokens: &dyn ToTokens| tokens.to_token_stream().to_string();
        let (key, value) = match &item {
            Item::Struct(s) => (format!("type {}", s.ident), text(s)),
            Item::Union(u) => (format!("type {}", u.ident), text(u)),
            Item::Type(t) => (format!("typedef {}", t.ident), text(t)),
            Item::Const(c) if c.ident == "_" => {
                // Sizes and offsets: `const _ : () = { [ "Size of x" ] [...] ; ... }`
                let text = text(c);
                (format!("layout {}", text.split('"').nth(1).unwrap_or(&text)), text)
            }
            Item::Const(c) => (format!("const {}", c.ident), text(c)),
            Item::ForeignMod(block) => {
                for item in &block.items {
                    match item {
                        ForeignItem::Fn(f) => {
                            self.items.insert(format!("function {}", f.sig.ident), text(&f.sig))
                        }
                        ForeignItem::Static(v) => self.items.insert(format!("variable {}", v.ident), text(v)),
                        _ => None,
                    };
                }
                return;
            }
            _ => return, // helper impls of bindgen
        };
        self.items.insert(key, value);
    }
}

/// Makes argument names and doc comments disappear.
struct Anonymous;

impl VisitMut for Anonymous {
    fn visit_pat_ident_mut(&mut self, pat: &mut syn::PatIdent) {
        pat.ident = syn::Ident::new("_arg", pat.ident.span());
    }

    fn visit_bare_fn_arg_mut(&mut self, arg: &mut syn::BareFnArg) {
        arg.name = None;
        visit_mut::visit_bare_fn_arg_mut(self, arg);
    }
}

/// Makes `x_t` and `struct x` the same in prototypes, as they are in C.
struct OtherNames(BTreeMap<syn::Ident, syn::Ident>);

impl VisitMut for OtherNames {
    fn visit_path_mut(&mut self, path: &mut syn::Path) {
        if let Some(target) = path.get_ident().and_then(|name| self.0.get(name)) {
            *path = target.clone().into();
        }
        visit_mut::visit_path_mut(self, path);
    }
}

/// One check for each item of either side.
pub fn compare(header: &str, reference: &Header, ours: &Header, report: &mut Report) {
    let names: BTreeSet<_> = reference.items.keys().chain(ours.items.keys()).collect();
    for name in names {
        let (theirs, our) = (reference.items.get(name), ours.items.get(name));
        if theirs == our {
            report.check(true, String::new);
        } else if let Some(reason) = allowed::reason(header, name) {
            report.allow(&format!("{header}: {name}"), reason);
        } else {
            let show = |side: Option<&String>| side.map_or("nothing".to_owned(), Clone::clone);
            report.fail(format!(
                "{header}: {name}\n  reference: {}\n  ours:      {}",
                show(theirs),
                show(our)
            ));
        }
    }
}
