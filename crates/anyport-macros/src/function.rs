//! The function below an attribute: its parts, and whether it can be what the attribute makes of it.
//!
//! The body stays as it is, unread: while somebody writes at it, it is no Rust yet, and its errors
//! are the compiler's to tell.

use crate::expand::Attribute;
use crate::options::also;
use proc_macro2::{Group, TokenStream};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::token::Brace;
use syn::{Error, FnArg, Signature, Visibility};

pub(crate) struct Function {
    pub(crate) attributes: Vec<syn::Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: Group,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(syn::Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let signature = input.parse()?;
        if !input.peek(Brace) {
            return Err(input.error("expected the body"));
        }
        Ok(Function { attributes, visibility, signature, body: input.parse()? })
    }
}

impl Function {
    /// Reads it; what is something else is an error at that.
    pub(crate) fn read(attribute: Attribute, item: TokenStream) -> Result<Self, Error> {
        let span = item.span();
        syn::parse2(item).map_err(|e| {
            let text = format!("`{attribute}` is for an `async fn` with a body: {e}");
            // At the end of the item there is nothing to point at.
            Error::new(if e.span().source_text().is_some() { e.span() } else { span }, text)
        })
    }

    /// Every reason why this cannot be a function that is called without anything and runs to its
    /// end on a runtime.
    pub(crate) fn check(&self, attribute: Attribute) -> Result<(), Error> {
        let signature = &self.signature;
        let mut errors = Ok(());
        let mut refuse = |at: &dyn ToTokens, text: &str| {
            also(&mut errors, Error::new_spanned(at, format!("`{attribute}`: {text}")));
        };
        if signature.asyncness.is_none() {
            refuse(&signature.fn_token, "the function is not async: write `async fn`");
        }
        match signature.inputs.first() {
            Some(FnArg::Receiver(receiver)) => {
                refuse(receiver, "a method cannot be run by itself: remove `self`");
            }
            Some(FnArg::Typed(_)) => {
                refuse(&signature.inputs, "the function takes arguments, and nobody gives it any");
            }
            None => {}
        }
        if let Some(variadic) = &signature.variadic {
            refuse(variadic, "the function takes arguments, and nobody gives it any");
        }
        if !signature.generics.params.is_empty() {
            refuse(&signature.generics, "the function is generic, and nobody chooses a type");
        } else if let Some(clause) = &signature.generics.where_clause {
            refuse(clause, "the function is generic, and nobody chooses a type");
        }
        if let Some(constness) = &signature.constness {
            refuse(constness, "the function cannot be `const`");
        }
        if let Some(unsafety) = &signature.unsafety {
            refuse(unsafety, "the function cannot be `unsafe`: nobody could keep its promises");
        }
        if let Some(abi) = &signature.abi {
            refuse(abi, "the function cannot be `extern`");
        }
        if attribute == Attribute::Test {
            for other in self.attributes.iter().filter(|other| is_test(other)) {
                refuse(other, "it makes the function a test already: remove this");
            }
        }
        errors
    }
}

/// `#[test]` itself, by whichever path.
fn is_test(attribute: &syn::Attribute) -> bool {
    let path = attribute.path();
    path.is_ident("test")
        || (path.segments.first().is_some_and(|s| s.ident == "core" || s.ident == "std")
            && path.segments.last().is_some_and(|s| s.ident == "test"))
}
