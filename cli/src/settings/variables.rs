//! Variables of the environment that look like settings and are none.

use super::Settings;
use super::keys::{KEYS, Key};

/// Those that are no settings, and are read elsewhere.
const OTHERS: [&str; 6] =
    ["SUREFOOT_CONFIG", "SUREFOOT_DATA", "SUREFOOT_LOG", "SUREFOOT_SERVER", "SUREFOOT_TOKEN", "SUREFOOT_WEBHOOK_KEY"];

/// What to say of each variable among `names` that begins as ours do, and that nobody reads. It is no error: where
/// services find each other by variables, as in Kubernetes, one named `surefoot` makes some for others.
pub(crate) fn unknown(names: impl IntoIterator<Item = String>, settings: &Settings) -> Vec<String> {
    let ours: Vec<String> = KEYS.iter().map(Key::variable).chain(OTHERS.map(str::to_owned)).collect();
    let is_unknown = |name: &String| {
        name.starts_with("SUREFOOT_") && !ours.contains(name) && settings.secrets.variable() != Some(name.as_str())
    };
    let complaint = |name: String| {
        let near = ours.iter().min_by_key(|known| strsim::damerau_levenshtein(known, &name));
        let near = near.map_or("", String::as_str);
        format!("the variable `{name}` of the environment is nothing that Surefoot reads; did you mean `{near}`?")
    };
    let mut unknown: Vec<String> = names.into_iter().filter(is_unknown).collect();
    unknown.sort();
    unknown.into_iter().map(complaint).collect()
}

/// The names of all variables of this process.
pub(crate) fn of_process() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}
