//! Components written by hand: endless loops and traps in every entry point, pointers that lead nowhere, text that is
//! none.

use anyhow::{Context as _, Result};
use serde_json::json;
use surefoot_tests::workspace::{Workspace, ensure_failed};

use crate::{ensure_at_work, workspace};

const LOOP: &str = "(loop (br 0))";
const RECURSE: &str = "(drop (call $deep (i32.const 0)))";

/// The parts of a component that fits the contract. Unchanged it answers `"ok"`.
struct Guest {
    memory: &'static str,
    /// More of the core module: tables, data, functions.
    more: &'static str,
    start: &'static str,
    realloc: &'static str,
    handler: &'static str,
    post_return: &'static str,
}

/// At 16 the answer `ok("\"ok\"")`, at 64 its text; at 1024 the place that `realloc` gives out.
const HONEST: Guest = Guest {
    memory: "(memory (export \"memory\") 2)",
    more: "",
    start: "",
    realloc: "(i32.const 1024)",
    handler: "(i32.const 16)",
    post_return: "",
};

impl Guest {
    fn component(&self) -> Result<Vec<u8>> {
        let Self { memory, more, start, realloc, handler, post_return } = self;
        let text = format!(
            r#"(component
              (core module $module
                {memory}
                {more}
                (data (i32.const 16) "\00\00\00\00\40\00\00\00\04\00\00\00")
                (data (i32.const 64) "\22ok\22\ff\fe")
                (func $deep (param i32) (result i32) (call $deep (i32.add (local.get 0) (i32.const 1))))
                (func $start {start})
                (start $start)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})
                (func (export "handler") (param i32 i32) (result i32) {handler})
                (func (export "post-return") (param i32) {post_return}))
              (core instance $core (instantiate $module))
              (type $handler (func (param "inputs" string) (result (result string (error string)))))
              (func $lifted (type $handler) (canon lift (core func $core "handler") (memory $core "memory")
                (realloc (func $core "realloc")) (post-return (func $core "post-return"))))
              (export "handler" (func $lifted)))"#
        );
        wat::parse_str(&text).with_context(|| text.clone())
    }
}

/// Deploys it and runs it once.
async fn run(workspace: &Workspace, component: Vec<u8>) -> Result<serde_json::Value> {
    workspace.engine.deploy("attacker", component, "test").await?;
    workspace.run("attacker", json!({"some": "input"})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_honest_one_answers() -> Result<()> {
    let row = run(&workspace().await?, HONEST.component()?).await?;
    assert_eq!((&row["status"], &row["output"]), (&json!("ENDED_SUCCESS"), &json!("ok")), "{row:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_ends_in_every_entry_point() -> Result<()> {
    let workspace = workspace().await?;
    for guest in [
        Guest { start: LOOP, ..HONEST },
        Guest { realloc: "(loop (br 0)) (i32.const 0)", ..HONEST },
        Guest { handler: "(loop (br 0)) (i32.const 0)", ..HONEST },
        Guest { post_return: LOOP, ..HONEST },
    ] {
        ensure_failed(&run(&workspace, guest.component()?).await?, "limit_exceeded", &["cpu_ms_max"])?;
    }
    ensure_at_work(&workspace).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_and_a_full_stack_fail_in_every_entry_point() -> Result<()> {
    let workspace = workspace().await?;
    for (code, says) in [("unreachable", "unreachable"), (RECURSE, "call stack exhausted")] {
        for guest in [
            Guest { start: code, ..HONEST },
            Guest { post_return: code, ..HONEST },
            Guest { handler: if code == RECURSE { "(call $deep (i32.const 0))" } else { code }, ..HONEST },
            Guest { realloc: if code == RECURSE { "(call $deep (i32.const 0))" } else { code }, ..HONEST },
        ] {
            ensure_failed(&run(&workspace, guest.component()?).await?, "trapped", &[says])?;
        }
    }
    ensure_at_work(&workspace).await
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_tables_are_limited_in_every_entry_point() -> Result<()> {
    let workspace = workspace().await?;
    let grow = "(drop (memory.grow (i32.const 60000)))";
    for guest in [
        Guest { memory: "(memory (export \"memory\") 65536)", ..HONEST },
        Guest { start: grow, ..HONEST },
        Guest { realloc: "(drop (memory.grow (i32.const 60000))) (i32.const 1024)", ..HONEST },
        Guest { handler: "(drop (memory.grow (i32.const 60000))) (i32.const 16)", ..HONEST },
        Guest { post_return: grow, ..HONEST },
    ] {
        ensure_failed(&run(&workspace, guest.component()?).await?, "limit_exceeded", &["memory_bytes_max"])?;
    }
    let tables = "(table $a 700000 funcref) (table $b 700000 funcref)";
    let table = Guest { more: tables, ..HONEST };
    ensure_failed(&run(&workspace, table.component()?).await?, "limit_exceeded", &["table_elements_max"])?;
    let table = Guest {
        more: "(table $a 1 funcref)",
        handler: "(drop (table.grow $a (ref.null func) (i32.const 100000000))) (i32.const 16)",
        ..HONEST
    };
    ensure_failed(&run(&workspace, table.component()?).await?, "limit_exceeded", &["table_elements_max"])?;
    ensure_at_work(&workspace).await
}

/// The answer's address, its parts, and what `realloc` gives out for the inputs.
#[tokio::test(flavor = "multi_thread")]
async fn pointers_that_lead_nowhere_are_not_followed() -> Result<()> {
    let workspace = workspace().await?;
    let answer = |code: &'static str| Guest { handler: code, ..HONEST };
    for guest in [
        answer("(i32.const -1)"),
        answer("(i32.const 0x7ffffff0)"),
        answer("(i32.const 17)"),
        // Cases that `result` does not have.
        answer("(i32.store8 (i32.const 16) (i32.const 7)) (i32.const 16)"),
        // A text from outside of the memory, one of 4 GiB, one that is not UTF-8.
        answer("(i32.store (i32.const 20) (i32.const 0x7fffffff)) (i32.const 16)"),
        answer("(i32.store (i32.const 24) (i32.const -1)) (i32.const 16)"),
        answer("(i32.store (i32.const 24) (i32.const 6)) (i32.const 16)"),
        Guest { realloc: "(i32.const -8)", ..HONEST },
        Guest { realloc: "(i32.const 0x7ffffff0)", ..HONEST },
    ] {
        ensure_failed(&run(&workspace, guest.component()?).await?, "trapped", &["flow trapped: "])?;
    }
    // Inside of the memory every address is the guest's own business.
    let overwritten = Guest { realloc: "(i32.const 64)", ..HONEST };
    let row = run(&workspace, overwritten.component()?).await?;
    ensure_failed(&row, "invalid_output", &["not JSON"])?;
    ensure_at_work(&workspace).await
}

/// A component with these imports, whose handler calls the function `$host` in an endless loop.
fn calls(imports: &str, call: &str) -> Result<Vec<u8>> {
    let text = format!(
        r#"(component
          {imports}
          (core module $memory_module (memory (export "memory") 2)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
          (core instance $memory (instantiate $memory_module))
          (core func $lowered (canon lower (func $host) (memory $memory "memory")
            (realloc (func $memory "realloc"))))
          (core module $module
            (import "memory" "memory" (memory 2))
            {call}
            (func (export "handler") (param i32 i32) (result i32) (loop (call $call) (br 0)) (unreachable)))
          (core instance $core (instantiate $module (with "memory" (instance $memory))
            (with "host" (instance (export "call" (func $lowered))))))
          (type $handler (func (param "inputs" string) (result (result string (error string)))))
          (func $lifted (type $handler) (canon lift (core func $core "handler") (memory $memory "memory")
            (realloc (func $memory "realloc"))))
          (export "handler" (func $lifted)))"#
    );
    wat::parse_str(&text).with_context(|| text.clone())
}

/// Random bytes without end, and timers that are never dropped: what the host would have to hold.
#[tokio::test(flavor = "multi_thread")]
async fn the_host_holds_no_more_than_it_must() -> Result<()> {
    let workspace = workspace().await?;
    let random = calls(
        r#"(import "wasi:random/random@0.2.0" (instance $random
             (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
           (alias export $random "get-random-bytes" (func $host))"#,
        r#"(import "host" "call" (func $bytes (param i64 i32)))
           (func $call (call $bytes (i64.const 0x1000000000000000) (i32.const 16)))"#,
    )?;
    ensure_failed(&run(&workspace, random).await?, "trapped", &["flow trapped: "])?;
    let timers = calls(
        r#"(import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
           (alias export $poll "pollable" (type $pollable))
           (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
             (alias outer 1 $pollable (type $outer))
             (export "pollable" (type $mine (eq $outer)))
             (export "subscribe-duration" (func (param "when" u64) (result (own $mine))))))
           (alias export $clock "subscribe-duration" (func $host))"#,
        r#"(import "host" "call" (func $subscribe (param i64) (result i32)))
           (func $call (drop (call $subscribe (i64.const 1))))"#,
    )?;
    ensure_failed(&run(&workspace, timers).await?, "trapped", &["flow trapped: "])?;
    ensure_at_work(&workspace).await
}

/// A resource of the component's own, whose destructor never ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_destructor_that_never_ends_is_ended() -> Result<()> {
    let workspace = workspace().await?;
    let component = wat::parse_str(
        r#"(component
          (core module $drop_module (func (export "drop") (param i32) (loop (br 0))))
          (core instance $drop (instantiate $drop_module))
          (type $resource (resource (rep i32) (dtor (func $drop "drop"))))
          (core func $new (canon resource.new $resource))
          (core func $release (canon resource.drop $resource))
          (core module $module
            (import "host" "new" (func $new (param i32) (result i32)))
            (import "host" "drop" (func $drop (param i32)))
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func (export "handler") (param i32 i32) (result i32)
              (call $drop (call $new (i32.const 1))) (unreachable)))
          (core instance $core (instantiate $module
            (with "host" (instance (export "new" (func $new)) (export "drop" (func $release))))))
          (type $handler (func (param "inputs" string) (result (result string (error string)))))
          (func $lifted (type $handler) (canon lift (core func $core "handler") (memory $core "memory")
            (realloc (func $core "realloc"))))
          (export "handler" (func $lifted)))"#,
    )?;
    ensure_failed(&run(&workspace, component).await?, "limit_exceeded", &["cpu_ms_max"])?;
    ensure_at_work(&workspace).await
}

/// What is no component, or not one for the contract, is refused and leaves no file behind.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_and_not_kept() -> Result<()> {
    let workspace = workspace().await?;
    let files = || std::fs::read_dir(workspace.engine.data().join("components")).map(Iterator::count);
    let before = files()?;
    for text in [
        "(component)",
        "(module)",
        r#"(component (import "wasi:nothing/known@0.2.0" (instance)))"#,
        r#"(component (import "sock" (func)) (core module) (type $t (func)) )"#,
    ] {
        let refused = workspace.engine.deploy("attacker", wat::parse_str(text)?, "test").await;
        assert!(refused.is_err(), "{text}");
        assert_eq!(files()?, before, "{text}");
    }
    let cut = HONEST.component()?;
    for length in (8..cut.len()).step_by(17) {
        assert!(workspace.engine.deploy("attacker", cut[..length].to_vec(), "test").await.is_err(), "{length}");
    }
    assert_eq!(files()?, before);
    ensure_at_work(&workspace).await
}
