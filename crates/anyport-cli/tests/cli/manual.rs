//! `man` and `completions`: made from the same definitions as the help.

use super::{anyport, text};

#[test]
fn the_man_page_has_the_options_of_every_command() {
    let output = anyport(&["man"]);
    let page = text(&output.stdout);
    assert!(output.status.success());
    for word in
        [".TH anyport 1", "ANYPORT BENCH", "ANYPORT SERVE ECHO", "\\-\\-rate", "fail\\-above"]
    {
        assert!(page.contains(word), "no {word} in {page}");
    }
}

#[test]
fn a_directory_gets_a_page_for_each_command() {
    let dir = std::env::temp_dir().join(format!("anyport-man-{}", std::process::id()));
    let output = anyport(&["man", "--dir", dir.to_str().expect("a path")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for name in ["anyport", "anyport-bench", "anyport-bench-suite", "anyport-demo"] {
        let page = std::fs::read_to_string(dir.join(format!("{name}.1"))).expect(name);
        assert!(page.contains(".TH"), "{page}");
    }
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = anyport(&["completions", shell]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("max-errors"), "{shell}");
    }
}
