//! Which functions come out, and of every error the text and the place that it points to.

use super::*;

fn tokens(text: &str) -> TokenStream {
    text.parse().expect("tokens")
}

/// What comes out, as the compiler would print it.
fn function_of(attribute: Attribute, options: &str, item: &str) -> String {
    try_expand(attribute, tokens(options), tokens(item)).expect("no error").to_string()
}

/// The text of each error, and the source that it points to.
fn errors_of(attribute: Attribute, options: &str, item: &str) -> Vec<(String, String)> {
    let errors = try_expand(attribute, tokens(options), tokens(item)).expect_err("refused");
    errors
        .into_iter()
        .map(|e| (e.to_string(), e.span().source_text().unwrap_or_default()))
        .collect()
}

/// The only error.
fn error_of(attribute: Attribute, options: &str, item: &str) -> (String, String) {
    let [error] = errors_of(attribute, options, item).try_into().expect("one error");
    error
}

fn pair(text: &str, source: &str) -> (String, String) {
    (text.to_owned(), source.to_owned())
}

const MAIN: &str = "async fn main() {}";

#[test]
fn main_becomes_a_plain_function_around_the_async_one() {
    let function = function_of(
        Attribute::Main,
        "",
        "/// Serves.\n#[allow(dead_code)] pub(crate) async fn main() -> Result<(), E> { go().await }",
    );
    let expected = tokens(
        "#[doc = \" Serves.\"]
        #[allow(dead_code)]
        pub(crate) fn main() -> Result<(), E> {
            async fn main() -> Result<(), E> { go().await }
            match ::anyport::rt::Runtime::builder().build() {
                ::core::result::Result::Ok(runtime) => runtime.block_on(main()),
                ::core::result::Result::Err(error) => ::core::panic!(
                    \"#[anyport::main] cannot build the runtime: {}\", error),
            }
        }",
    );
    assert_eq!(function, expected.to_string());
}

#[test]
fn a_test_is_one_to_the_compiler_and_keeps_its_attributes() {
    let function = function_of(
        Attribute::Test,
        "workers = 1",
        "#[should_panic = \"so\"] async fn fails() { panic!(\"so\") }",
    );
    let expected = tokens(
        "#[::core::prelude::v1::test]
        #[should_panic = \"so\"]
        fn fails() {
            async fn fails() { panic!(\"so\") }
            match ::anyport::rt::Runtime::builder().workers(1).build() {
                ::core::result::Result::Ok(runtime) => runtime.block_on(fails()),
                ::core::result::Result::Err(error) => ::core::panic!(
                    \"#[anyport::test] cannot build the runtime: {}\", error),
            }
        }",
    );
    assert_eq!(function, expected.to_string());
}

#[test]
fn options_become_calls_of_the_builder_in_their_order() {
    for (options, calls) in [
        ("workers = 4", ".workers(4)"),
        ("concurrency = 0x10, workers = 4usize,", ".concurrency(16).workers(4)"),
        ("backend = \"io_uring\"", ".backend(::anyport::BackendKind::IoUring)"),
        ("backend = \"readiness\"", ".backend(::anyport::BackendKind::Readiness)"),
        ("backend = \"windows\"", ".backend(::anyport::BackendKind::Windows)"),
    ] {
        let function = function_of(Attribute::Main, options, MAIN);
        let builder = format!("::anyport::rt::Runtime::builder(){calls}.build()");
        assert!(function.contains(&tokens(&builder).to_string()), "{options}: {function}");
    }
}

#[test]
fn a_number_that_came_through_a_macro_is_one() {
    let number = proc_macro2::Group::new(proc_macro2::Delimiter::None, tokens("3"));
    let calls = options::read(Attribute::Main, quote! { workers = #number }).expect("a number");
    assert_eq!(calls.to_string(), tokens(".workers(3)").to_string());
}

#[test]
fn a_body_that_is_no_rust_yet_is_left_to_the_compiler() {
    let function = function_of(Attribute::Main, "", "async fn main() { let x = ; }");
    assert!(function.contains("let x = ;"), "{function}");
}

#[test]
fn a_function_that_is_not_async_is_refused_at_its_fn() {
    assert_eq!(
        error_of(Attribute::Main, "", "fn main() {}"),
        pair("`#[anyport::main]`: the function is not async: write `async fn`", "fn"),
    );
    assert_eq!(
        error_of(Attribute::Test, "", "pub fn works() {}"),
        pair("`#[anyport::test]`: the function is not async: write `async fn`", "fn"),
    );
}

#[test]
fn arguments_are_refused_where_they_stand() {
    for attribute in [Attribute::Main, Attribute::Test] {
        assert_eq!(
            error_of(attribute, "", "async fn main(a: u32, b: u32) {}"),
            pair(
                &format!("`{attribute}`: the function takes arguments, and nobody gives it any"),
                "a: u32, b: u32"
            ),
        );
    }
}

#[test]
fn a_method_is_refused_at_its_self() {
    for receiver in ["self", "&self", "&mut self", "self: Box<Self>"] {
        assert_eq!(
            error_of(Attribute::Main, "", &format!("async fn main({receiver}, a: u32) {{}}")),
            pair("`#[anyport::main]`: a method cannot be run by itself: remove `self`", receiver),
        );
    }
}

#[test]
fn what_cannot_be_called_without_anything_is_refused() {
    let generic = "`#[anyport::main]`: the function is generic, and nobody chooses a type";
    for (item, text, source) in [
        ("async fn main<T>() {}", generic, "<T>"),
        ("async fn main() where u8: Copy {}", generic, "where u8: Copy"),
        (
            "async unsafe fn main() {}",
            "`#[anyport::main]`: the function cannot be `unsafe`: nobody could keep its promises",
            "unsafe",
        ),
        (
            "async extern \"C\" fn main() {}",
            "`#[anyport::main]`: the function cannot be `extern`",
            "extern \"C\"",
        ),
        ("const async fn main() {}", "`#[anyport::main]`: the function cannot be `const`", "const"),
    ] {
        assert_eq!(error_of(Attribute::Main, "", item), pair(text, source));
    }
}

#[test]
fn a_second_test_attribute_is_refused_at_that() {
    for second in ["#[test]", "#[core::prelude::v1::test]", "#[std::prelude::v1::test]"] {
        assert_eq!(
            error_of(Attribute::Test, "", &format!("{second} async fn works() {{}}")),
            pair("`#[anyport::test]`: it makes the function a test already: remove this", second),
        );
    }
    // Another library's is not known to be one, and its author's to refuse.
    function_of(Attribute::Test, "", "#[other::test] async fn works() {}");
}

#[test]
fn what_is_no_function_is_refused_at_what_it_is() {
    let (text, source) = error_of(Attribute::Main, "", "struct Main;");
    assert!(text.starts_with("`#[anyport::main]` is for an `async fn` with a body: "), "{text}");
    assert_eq!(source, "struct");
    let (text, source) = error_of(Attribute::Main, "", "async fn main();");
    assert_eq!(text, "`#[anyport::main]` is for an `async fn` with a body: expected the body");
    assert_eq!(source, ";");
}

#[test]
fn an_unknown_option_is_refused_at_its_name_and_the_others_are_named() {
    let known = "it has `workers`, `concurrency` and `backend`";
    for (options, name) in
        [("threads = 4", "threads"), ("flavor", "flavor"), ("rt::workers = 4", "rt::workers")]
    {
        assert_eq!(
            error_of(Attribute::Test, options, MAIN),
            pair(&format!("`#[anyport::test]` has no option `{name}`; {known}"), name),
        );
    }
}

#[test]
fn a_value_of_another_type_is_refused_at_the_value() {
    for value in ["\"4\"", "4.0", "-1", "four()", "4u8", "99999999999999999999", "true"] {
        assert_eq!(
            error_of(Attribute::Main, &format!("workers = {value}"), MAIN),
            pair("`workers` takes a whole number, as in `workers = 4`", value),
        );
        assert_eq!(
            error_of(Attribute::Main, &format!("concurrency = {value}"), MAIN),
            pair("`concurrency` takes a whole number, as in `concurrency = 4`", value),
        );
    }
    for value in ["4", "\"epoll\"", "io_uring", "\"\""] {
        assert_eq!(
            error_of(Attribute::Main, &format!("backend = {value}"), MAIN),
            pair(
                "`backend` takes one of \"io_uring\", \"readiness\" and \"windows\", \
                 as in `backend = \"readiness\"`",
                value
            ),
        );
    }
}

#[test]
fn an_option_without_a_value_is_told_what_it_takes() {
    for option in ["workers", "workers(4)"] {
        assert_eq!(
            error_of(Attribute::Main, option, MAIN),
            pair("`workers` takes a whole number, as in `workers = 4`", option),
        );
    }
}

#[test]
fn an_option_given_twice_is_refused_at_the_second() {
    let options = "workers = 4, backend = \"windows\", workers = 4";
    let errors = try_expand(Attribute::Main, tokens(options), tokens(MAIN)).expect_err("refused");
    assert_eq!(errors.to_string(), "`workers` is given twice");
    assert_eq!(errors.span().start().column, options.rfind("workers").expect("is there"));
}

#[test]
fn all_errors_come_together_and_main_is_there_all_the_same() {
    let texts = errors_of(Attribute::Main, "worker = 1, backend = 2", "fn main(a: u8) {}");
    assert_eq!(texts.len(), 4, "{texts:?}");
    let output = expand(Attribute::Main, tokens("worker = 1"), tokens("fn main() {}")).to_string();
    assert_eq!(output.matches("compile_error").count(), 2, "{output}");
    assert!(output.ends_with(&tokens("fn main() {}").to_string()), "{output}");
    let output = expand(Attribute::Test, tokens(""), tokens("fn works() {}")).to_string();
    assert!(!output.contains("works"), "{output}");
}
