//! Links out of docs/ lead to the repository on GitHub. In the files they are relative.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use mdbook_markdown::MarkdownOptions;
use mdbook_markdown::pulldown_cmark::{Event, LinkType, Tag};
use mdbook_preprocessor::book::{Book, Chapter};
use mdbook_preprocessor::{Preprocessor, PreprocessorContext};

/// A preprocessor of mdBook that changes the links out of docs/.
pub struct LeadToRepository {
    /// The address of the repository on GitHub.
    pub repository: String,
}

impl Preprocessor for LeadToRepository {
    fn name(&self) -> &str {
        "lead-to-repository"
    }

    fn run(&self, context: &PreprocessorContext, mut book: Book) -> Result<Book> {
        let mut result = Ok(());
        book.for_each_chapter_mut(|chapter| {
            if let Err(error) = self.change(chapter, &context.root, &context.config.book.src)
                && result.is_ok()
            {
                result = Err(error);
            }
        });
        result.map(|()| book)
    }
}

impl LeadToRepository {
    fn change(&self, chapter: &mut Chapter, root: &Path, docs: &Path) -> Result<()> {
        let Some(page) = chapter.source_path.clone() else { return Ok(()) };
        let name = docs.join(&page);
        let mut changes = Vec::new();
        let events = mdbook_markdown::new_cmark_parser(&chapter.content, &MarkdownOptions::default());
        for (event, range) in events.into_offset_iter() {
            let Event::Start(Tag::Link { link_type, dest_url, .. } | Tag::Image { link_type, dest_url, .. }) = event
            else {
                continue;
            };
            let Some(target) = self.address(&name, &dest_url, root, docs)? else { continue };
            if link_type != LinkType::Inline {
                bail!("{}: the link to {dest_url} leads out of docs/; write it as [text]({dest_url})", name.display());
            }
            let written = format!("]({dest_url}");
            let link = &chapter.content[range.clone()];
            let at =
                link.rfind(&written).with_context(|| format!("{}: cannot read the link {link}", name.display()))?;
            let start = range.start + at + 2;
            changes.push((start..start + dest_url.len(), target));
        }
        // An image in a link is inside of it, so the changes are not in the order of the text.
        changes.sort_by_key(|(range, _)| range.start);
        for (range, target) in changes.into_iter().rev() {
            chapter.content.replace_range(range, &target);
        }
        Ok(())
    }

    /// The address of what a page links to, if it is not the written one: on GitHub for a file or folder outside of docs/.
    fn address(&self, page: &Path, link: &str, root: &Path, docs: &Path) -> Result<Option<String>> {
        let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
        if file.is_empty() || link.contains("://") || link.starts_with("mailto:") {
            return Ok(None);
        }
        let path = page.parent().unwrap_or(Path::new("")).join(file);
        let path = normal(&path).with_context(|| format!("{}: {link} leads out of the repository", page.display()))?;
        if path.starts_with(docs) && path != docs {
            // mdBook names the page of a README.md `index`, but does not change links to it.
            let is_index = path.file_name().is_some_and(|name| name == "README.md");
            return Ok(is_index.then(|| link.replacen("README.md", "index.md", 1)));
        }
        let found = root.join(&path);
        let kind = match (found.is_dir(), found.exists()) {
            (true, _) => "tree",
            (false, true) => "blob",
            (false, false) => bail!("{}: links to {link}, which does not exist", page.display()),
        };
        let anchor = anchor.map(|anchor| format!("#{anchor}")).unwrap_or_default();
        Ok(Some(format!("{}/{kind}/main/{}{anchor}", self.repository, path.display())))
    }
}

/// A relative path without `.` and `..`.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::CurDir => {}
            Component::ParentDir => normal.pop().then_some(())?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(page: &str, text: &str) -> Result<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut chapter = Chapter::new("A page", text.to_owned(), page, Vec::new());
        let links = LeadToRepository { repository: "https://github.com/a/b".to_owned() };
        links.change(&mut chapter, root, Path::new("docs"))?;
        Ok(chapter.content)
    }

    #[test]
    fn a_link_to_a_file_outside_of_docs_leads_to_the_repository() {
        let text = "[the policy](../deploy/enforce.yaml), [its folder](../deploy/), [the license](../LICENSE#terms).";
        let expected = "[the policy](https://github.com/a/b/blob/main/deploy/enforce.yaml), \
            [its folder](https://github.com/a/b/tree/main/deploy), [the license](https://github.com/a/b/blob/main/LICENSE#terms).";
        assert_eq!(changed("page.md", text).unwrap(), expected);
    }

    #[test]
    fn a_link_of_a_page_in_a_folder_is_relative_to_the_folder() {
        let changed = changed("cookbook/page.md", "[a](../../LICENSE) [b](../README.md) [c](other.md)").unwrap();
        assert_eq!(changed, "[a](https://github.com/a/b/blob/main/LICENSE) [b](../index.md) [c](other.md)");
    }

    #[test]
    fn a_link_to_a_readme_leads_to_the_index_of_its_folder() {
        let changed = changed("cookbook/page.md", "[a](README.md#use-a-recipe)").unwrap();
        assert_eq!(changed, "[a](index.md#use-a-recipe)");
    }

    #[test]
    fn a_link_in_a_code_block_stays() {
        let text = "```\n[the policy](../deploy/enforce.yaml)\n```\n";
        assert_eq!(changed("page.md", text).unwrap(), text);
    }

    #[test]
    fn a_picture_in_a_link_is_changed_with_the_link() {
        let changed = changed("page.md", "[![x](../LICENSE)](../Makefile)").unwrap();
        let expected = "[![x](https://github.com/a/b/blob/main/LICENSE)](https://github.com/a/b/blob/main/Makefile)";
        assert_eq!(changed, expected);
    }

    #[test]
    fn a_link_to_a_missing_file_outside_of_docs_is_an_error() {
        let error = changed("page.md", "[x](../deploy/missing.yaml)").unwrap_err().to_string();
        assert_eq!(error, "docs/page.md: links to ../deploy/missing.yaml, which does not exist");
    }
}
