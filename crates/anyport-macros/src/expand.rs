//! From an attribute and the function below it to the function that the compiler gets.

use crate::function::Function;
use crate::options;
use proc_macro2::TokenStream;
use quote::quote;
use std::fmt;
use syn::Error;

/// Which attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attribute {
    Main,
    Test,
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Attribute::Main => "#[anyport::main]",
            Attribute::Test => "#[anyport::test]",
        })
    }
}

/// What the compiler gets: the function, or all errors. With errors `main` is there all the same,
/// empty, or the compiler would add that it is missing.
pub(crate) fn expand(attribute: Attribute, options: TokenStream, item: TokenStream) -> TokenStream {
    match try_expand(attribute, options, item.clone()) {
        Ok(function) => function,
        Err(errors) => {
            let errors = errors.into_compile_error();
            let stub = match Function::read(attribute, item) {
                Ok(Function { visibility, signature, .. }) if attribute == Attribute::Main => {
                    let name = &signature.ident;
                    quote! { #visibility fn #name() {} }
                }
                _ => TokenStream::new(),
            };
            quote! { #errors #stub }
        }
    }
}

fn try_expand(
    attribute: Attribute,
    options: TokenStream,
    item: TokenStream,
) -> Result<TokenStream, Error> {
    let function = Function::read(attribute, item)?;
    let mut errors = function.check(attribute);
    let calls = options::read(attribute, options).unwrap_or_else(|error| {
        options::also(&mut errors, error);
        TokenStream::new()
    });
    errors?;

    let Function { attributes, visibility, signature, body } = function;
    let (name, output) = (&signature.ident, &signature.output);
    let test = match attribute {
        Attribute::Main => TokenStream::new(),
        Attribute::Test => quote! { #[::core::prelude::v1::test] },
    };
    let text = format!("{attribute} cannot build the runtime: {{}}");
    // The body keeps a function of its own, as it was written: its errors read as if the attribute
    // were not there, and it sees no name of what is around it.
    Ok(quote! {
        #test
        #(#attributes)*
        #visibility fn #name() #output {
            #signature #body
            match ::anyport::rt::Runtime::builder() #calls .build() {
                ::core::result::Result::Ok(runtime) => runtime.block_on(#name()),
                ::core::result::Result::Err(error) => ::core::panic!(#text, error),
            }
        }
    })
}

#[cfg(test)]
mod tests;
