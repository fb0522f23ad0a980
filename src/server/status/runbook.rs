//! A runbook as a part of a page.

use maud::{Markup, PreEscaped};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// The runbook without its title, its headings one level down. `root` is where the links to other runbooks begin.
pub(super) fn runbook(text: &str, root: &str) -> Markup {
    let title = Event::End(TagEnd::Heading(HeadingLevel::H1));
    let events = Parser::new_ext(text, Options::ENABLE_TABLES).skip_while(|event| *event != title).skip(1);
    let events = events.map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        Event::Start(Tag::Heading { level, id, classes, attrs }) => {
            Event::Start(Tag::Heading { level: below(level), id, classes, attrs })
        }
        Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(below(level))),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let dest_url = match dest_url.strip_suffix(".md") {
                Some(reason) => format!("{root}runbooks/{reason}").into(),
                None => dest_url,
            };
            Event::Start(Tag::Link { link_type, dest_url, title, id })
        }
        event => event,
    });
    let mut out = String::new();
    html::push_html(&mut out, events);
    PreEscaped(out)
}

fn below(level: HeadingLevel) -> HeadingLevel {
    match level {
        HeadingLevel::H1 => HeadingLevel::H2,
        HeadingLevel::H2 => HeadingLevel::H3,
        _ => HeadingLevel::H4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbooks;

    #[test]
    fn all_runbooks_are_rendered_and_their_links_lead_to_others() {
        for name in runbooks::names() {
            let page = runbook(runbooks::runbook(name).unwrap(), "../").into_string();
            assert!(page.contains("<h3>What it means</h3>") && page.contains("<pre><code"), "{name}: {page}");
            assert!(!page.contains("<h1") && !page.contains(".md\""), "{name}: {page}");
            for link in page.split("href=\"").skip(1) {
                let to = link.split('"').next().unwrap().strip_prefix("../runbooks/").unwrap();
                assert!(runbooks::runbook(to).is_some(), "{name} links to {to}");
            }
        }
    }

    #[test]
    fn markup_in_a_runbook_is_text() {
        let page = runbook("# A\n\n<script>x</script>\n\na <b>c</b>", "").into_string();
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    }
}
