//! The contract between flows and engine changes on purpose only: deployed components are bound to it for ever.

/// The WIT package is its golden copy. To add something: mark it `@since`, show that components built before still
/// run, and change
/// both.
#[test]
fn the_contract_is_its_golden_copy() {
    let read = |path: &str| std::fs::read_to_string(xtask::repo::root().join(path)).unwrap();
    let (contract, golden) = (read("sdk/wit/0.1.0/flow.wit"), read("tests/golden/surefoot-flow-0.1.0.wit"));
    assert!(contract == golden, "sdk/wit/0.1.0/flow.wit differs from tests/golden/surefoot-flow-0.1.0.wit");
}
