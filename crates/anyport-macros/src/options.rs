//! What stands in the brackets of an attribute: each option as the call of the builder that it
//! stands for.

use crate::expand::Attribute;
use proc_macro2::{Literal, TokenStream};
use quote::{quote, quote_spanned};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprLit, Ident, Lit, Meta, Token};

const NAMES: [&str; 3] = ["workers", "concurrency", "backend"];

/// The calls of the builder, in the order of the options: `.workers(4).concurrency(2)`.
pub(crate) fn read(attribute: Attribute, options: TokenStream) -> Result<TokenStream, Error> {
    let options = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(options)?;
    let mut calls = TokenStream::new();
    let mut errors = Ok(());
    let mut given = Vec::<Ident>::new();
    for option in options {
        match call(attribute, &option, &given) {
            Ok(call) => calls.extend(call),
            Err(error) => also(&mut errors, error),
        }
        given.extend(option.path().get_ident().cloned());
    }
    errors.map(|()| calls)
}

/// Adds an error to those there are.
pub(crate) fn also(errors: &mut Result<(), Error>, error: Error) {
    match errors {
        Ok(()) => *errors = Err(error),
        Err(errors) => errors.combine(error),
    }
}

fn call(attribute: Attribute, option: &Meta, given: &[Ident]) -> Result<TokenStream, Error> {
    let path = option.path();
    let name = path.get_ident().filter(|name| NAMES.iter().any(|known| *name == known));
    let name = name.ok_or_else(|| {
        let text: String = path.segments.iter().map(|s| format!("::{}", s.ident)).collect();
        Error::new_spanned(
            path,
            format!(
                "`{attribute}` has no option `{}`; it has `workers`, `concurrency` and `backend`",
                text.trim_start_matches("::")
            ),
        )
    })?;
    if given.contains(name) {
        return Err(Error::new_spanned(name, format!("`{name}` is given twice")));
    }
    let value = match option {
        Meta::NameValue(option) => within(&option.value),
        _ => return Err(Error::new_spanned(option, expected(name))),
    };
    let argument = if name == "backend" { backend(value) } else { number(value) };
    let argument = argument.ok_or_else(|| Error::new_spanned(value, expected(name)))?;
    Ok(quote! { .#name(#argument) })
}

/// What the value of this option must be.
fn expected(name: &Ident) -> String {
    if name == "backend" {
        "`backend` takes one of \"io_uring\", \"readiness\" and \"windows\", \
         as in `backend = \"readiness\"`"
            .to_owned()
    } else {
        format!("`{name}` takes a whole number, as in `{name} = 4`")
    }
}

/// A value that came through a macro stands in brackets that nobody sees.
fn within(value: &Expr) -> &Expr {
    match value {
        Expr::Group(group) => within(&group.expr),
        value => value,
    }
}

fn number(value: &Expr) -> Option<TokenStream> {
    let Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) = value else {
        return None;
    };
    if !matches!(number.suffix(), "" | "usize") {
        return None;
    }
    let mut literal = Literal::usize_unsuffixed(number.base10_parse().ok()?);
    literal.set_span(number.span());
    Some(quote! { #literal })
}

fn backend(value: &Expr) -> Option<TokenStream> {
    let Expr::Lit(ExprLit { lit: Lit::Str(name), .. }) = value else {
        return None;
    };
    let span = name.span();
    Some(match name.value().as_str() {
        "io_uring" => quote_spanned! { span => ::anyport::BackendKind::IoUring },
        "readiness" => quote_spanned! { span => ::anyport::BackendKind::Readiness },
        "windows" => quote_spanned! { span => ::anyport::BackendKind::Windows },
        _ => return None,
    })
}
