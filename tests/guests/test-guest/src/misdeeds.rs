//! What a flow should not do. Outside of WebAssembly nothing calls these.

use std::hint::black_box;
use std::time::Duration;

/// Ends with a panic whose message and place the tests look for.
pub(crate) fn panic() -> ! {
    panic!("the guest was asked to panic")
}

/// Ends with the instruction that WebAssembly has for what cannot happen. Not inlined, so that its place is this file.
#[inline(never)]
pub(crate) fn trap() -> ! {
    #[cfg(target_family = "wasm")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_family = "wasm"))]
    panic!("only WebAssembly has this instruction")
}

/// Never calls the host again, and never ends.
pub(crate) fn compute_for_ever() -> ! {
    let mut count = 0_u64;
    loop {
        count = black_box(count.wrapping_add(1));
    }
}

/// Takes memory and writes to it.
pub(crate) fn allocate(bytes: usize) -> u64 {
    let block = black_box(vec![1_u8; bytes]);
    block.iter().map(|byte| u64::from(*byte)).sum()
}

/// Needs more stack with each call.
#[expect(unconditional_recursion, reason = "the misdeed that is asked for")]
pub(crate) fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1)) + 1)
}

/// Ends the process instead of the flow.
#[expect(clippy::exit, clippy::disallowed_methods, reason = "the misdeed that is asked for")]
pub(crate) fn exit(code: i32) -> ! {
    std::process::exit(code)
}

/// Blocks, for all that the program can see.
#[expect(clippy::disallowed_methods, reason = "that it is durable all the same is what is tested")]
pub(crate) fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}
