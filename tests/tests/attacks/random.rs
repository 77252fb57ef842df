//! Random components: deployed they are refused, and run they fail, or not, alone.

use anyhow::{Context as _, Result, ensure};
use arbitrary::Unstructured;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde_json::json;
use surefoot_engine::{ComponentError, EngineError};
use wasm_smith::{Component, Config, Module};

use crate::{ensure_at_work, workspace_with};

/// How many of each; `SUREFOOT_FUZZ_CASES` in a soak.
fn cases() -> u64 {
    std::env::var("SUREFOOT_FUZZ_CASES").map_or(60, |cases| cases.parse().expect("SUREFOOT_FUZZ_CASES is a number"))
}

/// What the contract needs of a core module.
const SHAPE: &str = r#"
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "handler") (param i32 i32) (result i32) unreachable)
    (func (export "post-return") (param i32) unreachable)"#;

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Shapes without rhyme or reason. None fits the contract.
#[tokio::test(flavor = "multi_thread")]
async fn soak_random_components_are_refused() -> Result<()> {
    let workspace = workspace_with(|_| {}).await?;
    for seed in 0..cases() {
        let bytes = bytes(seed, 8192);
        let component = Component::new(Config::default(), &mut Unstructured::new(&bytes))
            .with_context(|| format!("seed {seed}"))?
            .to_bytes();
        match workspace.engine.deploy("attacker", component, "test").await {
            Err(EngineError::Component(ComponentError::Invalid(_))) => {}
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    ensure_at_work(&workspace).await
}

/// Programs of the right shape that do what chance says, also where memory is allocated and when they start.
#[tokio::test(flavor = "multi_thread")]
async fn soak_random_programs_fail_alone() -> Result<()> {
    let workspace = workspace_with(|limits| limits.cpu_ms_max = 50).await?;
    let shape = wat::parse_str(format!("(module {SHAPE})"))?;
    let mut codes = std::collections::BTreeMap::<String, u32>::new();
    for seed in 0..cases() {
        let config = Config {
            exports: Some(shape.clone()),
            max_imports: 0,
            max_memories: 2,
            max_instructions: 1000,
            threads_enabled: false,
            shared_everything_threads_enabled: false,
            gc_enabled: false,
            exceptions_enabled: false,
            reference_types_enabled: false,
            ..Config::default()
        };
        let bytes = bytes(seed, 16384);
        let module = Module::new(config, &mut Unstructured::new(&bytes)).with_context(|| format!("seed {seed}"))?;
        let module = wrapped(SHAPE, &module.to_bytes())?;
        let code = match workspace.engine.deploy("attacker", module, "test").await {
            Ok(_) => {
                let row = workspace.run("attacker", json!({"seed": seed})).await?;
                let status = row["status"].as_str().unwrap_or_default();
                assert!(["ENDED_SUCCESS", "ENDED_ERROR"].contains(&status), "seed {seed}: {row:#}");
                let is_told = status == "ENDED_SUCCESS" || row["error_message"] != "";
                assert!(is_told && row["error_code"] != "internal", "seed {seed}: {row:#}");
                row["error_code"].as_str().unwrap_or_default().to_owned()
            }
            Err(EngineError::Component(ComponentError::Invalid(_))) => "refused".to_owned(),
            Err(other) => panic!("seed {seed}: {other:?}"),
        };
        *codes.entry(code).or_default() += 1;
    }
    let refused = codes.get("refused").copied().unwrap_or_default();
    assert!(u64::from(refused) * 2 < cases() && codes.contains_key("trapped"), "too few were run: {codes:?}");
    ensure_at_work(&workspace).await
}

/// The component of the contract around a module of that shape, which takes the place of one written as text: the first
/// section, after the eight bytes of the head.
fn wrapped(shape: &str, module: &[u8]) -> Result<Vec<u8>> {
    let text = format!(
        r#"(component
          (core module $module {shape})
          (core instance $core (instantiate $module))
          (type $handler (func (param "inputs" string) (result (result string (error string)))))
          (func $lifted (type $handler) (canon lift (core func $core "handler") (memory $core "memory")
            (realloc (func $core "realloc")) (post-return (func $core "post-return"))))
          (export "handler" (func $lifted)))"#
    );
    let whole = wat::parse_str(&text)?;
    let (&kind, mut rest) = whole[8..].split_first().context("a section")?;
    ensure!(kind == 1, "the first section is the module");
    let length = unsigned(&mut rest)?;
    let head = [&whole[..9], &leb128(module.len())].concat();
    Ok([&head, module, rest.get(length..).context("more sections")?].concat())
}

/// Reads a length as WebAssembly writes it.
fn unsigned(bytes: &mut &[u8]) -> Result<usize> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let (&byte, rest) = bytes.split_first().context("one more byte")?;
        *bytes = rest;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    anyhow::bail!("a length has five bytes at most")
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
