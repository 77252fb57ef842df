//! The contract's raw bindings, generated from `sdk/wit`. Only `host` calls them; a flow never sees them,
//! except through the export that the attribute writes.

#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

wit_bindgen::generate!({
    path: "../wit/0.1.0",
    world: "flow",
    pub_export_macro: true,
    export_macro_name: "export_flow",
    default_bindings_module: "::surefoot::__private::bindings",
});
