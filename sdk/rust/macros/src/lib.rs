//! The attribute that turns a function into a flow's entry. Use it as `surefoot::flow`; this crate has no
//! interface of its own and knows nothing about the host.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, PatType, Result, ReturnType, Type};

#[cfg(test)]
mod tests;

/// The function takes `(system: &System, this: &Execution, inputs: T)`. `T` is anything that implements
/// `DeserializeOwned`: a struct of your own, `Inputs`, or `()`. It returns anything that implements
/// `Serialize`, or a `Result` of it whose error implements `Display`: the output becomes JSON, the error becomes the
/// text with which the execution fails, and one of this crate's also gives the stable code. Or it returns `!`, if it
/// always ends with `this.webhook_response(…)` or its kind.
///
/// A crate has one flow. Built for any target but WebAssembly the function stays as it is, so tests can call it.
#[proc_macro_attribute]
pub fn flow(attribute: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(attribute.into(), item.into()).into()
}

/// The function as it was, and either its export or the error that says why there is none.
fn expand(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let function = match syn::parse2::<ItemFn>(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            let error = Error::new(error.span(), "`#[surefoot::flow]` belongs on a function").into_compile_error();
            return quote!(#item #error);
        }
    };
    let export = check_attribute(&attribute).and_then(|()| export(&function)).unwrap_or_else(Error::into_compile_error);
    quote!(#function #export)
}

fn check_attribute(attribute: &TokenStream) -> Result<()> {
    if attribute.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        attribute.span(),
        "`#[surefoot::flow]` takes no arguments; the flow gets its name when it is deployed",
    ))
}

/// The component's export. The entry exists on every target, so a wrong signature is an error on every target.
fn export(function: &ItemFn) -> Result<TokenStream> {
    let [system, this, inputs] = parameters(function)?;
    let name = &function.sig.ident;
    let inputs_type = &inputs.ty;
    // Each name stands where its type does, so that a wrong type is underlined there and not at the attribute.
    let [system, this, inputs] =
        [("system", system), ("this", this), ("inputs", inputs)].map(|(name, typed)| Ident::new(name, typed.ty.span()));
    let output = &function.sig.output;
    let call = quote_spanned!(output.span()=> #name(#system, #this, #inputs));
    let body = match returned(output) {
        Returned::Never => call,
        Returned::Result => quote_spanned!(output.span()=> ::surefoot::__private::returned_result(#call)),
        Returned::Value => quote_spanned!(output.span()=> ::surefoot::__private::returned_value(#call)),
    };
    Ok(quote! {
        const _: () = {
            #[allow(dead_code, reason = "called by the host")]
            fn enter(
                inputs: &::core::primitive::str,
            ) -> ::core::result::Result<::std::string::String, ::std::string::String> {
                ::surefoot::__private::enter::<#inputs_type>(inputs, |#system, #this, #inputs| #body)
            }

            #[cfg(target_family = "wasm")]
            const _: () = {
                struct Flow;

                impl ::surefoot::__private::bindings::Guest for Flow {
                    fn handler(
                        inputs: ::std::string::String,
                    ) -> ::core::result::Result<::std::string::String, ::std::string::String> {
                        enter(&inputs)
                    }
                }

                ::surefoot::__private::bindings::export_flow!(Flow with_types_in ::surefoot::__private::bindings);
            };
        };
    })
}

/// The three parameters, or what is wrong with the signature.
fn parameters(function: &ItemFn) -> Result<[&PatType; 3]> {
    const SHAPE: &str = "a flow is `fn(system: &System, this: &Execution, inputs: T)`";
    let signature = &function.sig;
    if let Some(token) = &signature.asyncness {
        return Err(Error::new(token.span, "a flow is not async: `start()` several calls, then `this.wait_for` them"));
    }
    if let Some(token) = &signature.unsafety {
        return Err(Error::new(token.span, "a flow is not unsafe: the host calls it with checked values"));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new(signature.generics.span(), "a flow is not generic: the host calls it with JSON inputs"));
    }
    if let Some(receiver) = signature.receiver() {
        return Err(Error::new(receiver.span(), format!("{SHAPE}, not a method")));
    }
    let parameters: Vec<&PatType> = signature
        .inputs
        .iter()
        .filter_map(|parameter| match parameter {
            FnArg::Typed(typed) => Some(typed),
            FnArg::Receiver(_) => None,
        })
        .collect();
    let [system, this, inputs]: [&PatType; 3] = parameters.try_into().map_err(|found: Vec<_>| {
        Error::new(signature.paren_token.span.join(), format!("{SHAPE}; found {} parameters", found.len()))
    })?;
    for (parameter, expected) in [(system, "&System"), (this, "&Execution")] {
        if !matches!(&*parameter.ty, Type::Reference(reference) if reference.mutability.is_none()) {
            return Err(Error::new(parameter.ty.span(), format!("expected `{expected}`: {SHAPE}")));
        }
    }
    if let Type::Reference(_) | Type::ImplTrait(_) = &*inputs.ty {
        return Err(Error::new(
            inputs.ty.span(),
            "inputs are taken by value, as a type that implements `DeserializeOwned`, such as `Inputs` or your \
                 own struct",
        ));
    }
    Ok([system, this, inputs])
}

enum Returned {
    Never,
    Result,
    Value,
}

/// A type is a result if it is called so. Under another name it needs `Serialize`, and the compiler says so.
fn returned(output: &ReturnType) -> Returned {
    match output {
        ReturnType::Default => Returned::Value,
        ReturnType::Type(_, ty) => match &**ty {
            Type::Never(_) => Returned::Never,
            Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Result") => {
                Returned::Result
            }
            _ => Returned::Value,
        },
    }
}
