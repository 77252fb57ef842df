//! What the attribute accepts, and what it says about the rest.

use super::*;

fn expanded(item: TokenStream) -> String {
    expand(TokenStream::new(), item).to_string()
}

#[test]
fn a_flow_is_kept_and_exported() {
    let text = expanded(quote! {
        fn handler(system: &System, this: &Execution, inputs: Inputs) -> Result<Value> { Ok(json!(1)) }
    });
    assert!(text.starts_with("fn handler (system : & System"), "{text}");
    assert!(text.contains("returned_result (handler (system , this , inputs))"), "{text}");
    assert!(text.contains("export_flow ! (Flow with_types_in"), "{text}");
    assert!(!text.contains("compile_error"), "{text}");
}

#[test]
fn the_return_type_decides_how_the_output_is_made() {
    let value = expanded(quote!(
        fn handler(s: &System, t: &Execution, i: ()) -> Vec<u8> {
            vec![]
        }
    ));
    assert!(value.contains("returned_value (handler"), "{value}");
    let unit = expanded(quote!(
        fn handler(s: &System, t: &Execution, i: ()) {}
    ));
    assert!(unit.contains("returned_value (handler"), "{unit}");
    let never = expanded(quote!(
        fn handler(s: &System, t: &Execution, i: ()) -> ! {
            t.success("")
        }
    ));
    assert!(!never.contains("returned_"), "{never}");
    let aliased = expanded(quote!(
        fn handler(s: &System, t: &Execution, i: ()) -> anyhow::Result<()> {
            Ok(())
        }
    ));
    assert!(aliased.contains("returned_result (handler"), "{aliased}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn a_wrong_signature_is_explained() {
    let cases = [
        (
            quote!(
                async fn handler(s: &System, t: &Execution, i: Inputs) {}
            ),
            "a flow is not async",
        ),
        (
            quote!(
                unsafe fn handler(s: &System, t: &Execution, i: Inputs) {}
            ),
            "a flow is not unsafe",
        ),
        (
            quote!(
                fn handler<T>(s: &System, t: &Execution, i: T) {}
            ),
            "a flow is not generic",
        ),
        (
            quote!(
                fn handler(&self, s: &System, t: &Execution) {}
            ),
            "not a method",
        ),
        (
            quote!(
                fn handler(s: &System, t: &Execution) {}
            ),
            "found 2 parameters",
        ),
        (
            quote!(
                fn handler() {}
            ),
            "found 0 parameters",
        ),
        (
            quote!(
                fn handler(s: System, t: &Execution, i: Inputs) {}
            ),
            "expected `&System`",
        ),
        (
            quote!(
                fn handler(s: &System, t: &mut Execution, i: Inputs) {}
            ),
            "expected `&Execution`",
        ),
        (
            quote!(
                fn handler(s: &System, t: &Execution, i: &Inputs) {}
            ),
            "inputs are taken by value",
        ),
        (
            quote!(
                fn handler(s: &System, t: &Execution, i: impl DeserializeOwned) {}
            ),
            "inputs are taken by value",
        ),
        (
            quote!(
                struct Handler;
            ),
            "belongs on a function",
        ),
    ];
    for (item, expected) in cases {
        let text = expanded(item);
        assert!(text.contains("compile_error"), "{text}");
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let item = quote!(
        fn handler(s: &System, t: &Execution, i: Inputs) {}
    );
    assert!(expand(quote!(name = "x"), item).to_string().contains("takes no arguments"));
}
