//! Rules for documents: one title, at the top; links within the repository lead somewhere.

use std::path::{Component, Path, PathBuf};

use crate::{File, Finding};

/// `exists` is asked with paths relative to the checkout.
pub(crate) fn check(file: &File, exists: &dyn Fn(&Path) -> bool) -> Vec<Finding> {
    if !file.has_extension(&["md"]) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut report = |line: usize, problem: String| findings.push(Finding::new(&file.path, line, problem));
    if !file.text.starts_with("# ") {
        report(1, "a document begins with its title: `# …`".to_owned());
    }
    let mut is_code = false;
    for (index, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            if index > 0 && line.starts_with("# ") {
                report(index + 1, "a second title: use `## …`".to_owned());
            }
            for target in links(line) {
                if !leads_somewhere(&file.path, &target, exists) {
                    report(index + 1, format!("the link `{target}` leads nowhere"));
                }
            }
        }
    }
    if is_code {
        report(0, "a code block is not closed".to_owned());
    }
    findings
}

/// The targets of the links in a line, without those in inline code.
fn links(line: &str) -> Vec<String> {
    let prose: String = line.split('`').step_by(2).collect();
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    targets.map(str::to_owned).collect()
}

fn leads_somewhere(document: &str, target: &str, exists: &dyn Fn(&Path) -> bool) -> bool {
    if target.contains("://") || target.starts_with("mailto:") || target.starts_with('#') {
        return true;
    }
    let file = target.split('#').next().unwrap_or_default();
    let joined = Path::new(document).parent().unwrap_or(Path::new("")).join(file);
    let mut path = PathBuf::new();
    for part in joined.components() {
        match part {
            Component::Normal(name) => path.push(name),
            // Above the checkout there is nothing of ours.
            Component::ParentDir if !path.pop() => return false,
            Component::RootDir | Component::Prefix(_) => return false,
            Component::ParentDir | Component::CurDir => {}
        }
    }
    exists(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_found(text: &str) -> Vec<usize> {
        let file = File { path: "docs/guides/a.md".to_owned(), text: text.to_owned() };
        let exists = |path: &Path| path == Path::new("docs/b.md") || path == Path::new("docs/guides/c.md");
        check(&file, &exists).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn there_is_one_title_at_the_top() {
        assert_eq!(lines_found("# Title\n\n## Part\n```sh\n# comment\n```\n"), [0_usize; 0]);
        assert_eq!(lines_found("Text\n"), [1]);
        assert_eq!(lines_found("# Title\n# Another\n"), [2]);
        assert_eq!(lines_found("# Title\n```sh\n"), [0]);
    }

    #[test]
    fn links_lead_somewhere() {
        assert_eq!(lines_found("# T\n[b](../b.md) [c](c.md#part) [d](https://example.com) [e](#part)\n"), [0_usize; 0]);
        assert_eq!(lines_found("# T\n[b](b.md)\n[c](../../../c.md)\n`[d](d.md)`\n[`e`](e.md)\n"), [2, 3, 5]);
    }
}
