//! Words of Chinese text, for ranking alone: bigrams decide what matches, and no word that is missing here is missed there.
//!
//! The dictionary takes about 30 MB of memory. It is loaded with the first Chinese text that a process indexes or looks for.

use super::analysis::{is_cjk, normalise};
use jieba_rs::Jieba;
use std::sync::LazyLock;

static DICTIONARY: LazyLock<Jieba> = LazyLock::new(Jieba::new);

/// The words of two and more CJK characters, and the shorter ones within longer ones.
pub(super) fn words(text: &str) -> Vec<String> {
    let text = normalise(text);
    // Each run by itself: what stands beside it, in another script, has no part in it.
    let runs = text.split(|c| !is_cjk(c)).filter(|run| run.chars().nth(1).is_some());
    // Without the model for unknown words: it guesses, and what it guesses depends on what stands around.
    let found = runs.flat_map(|run| DICTIONARY.cut_for_search(run, false));
    found.map(|t| t.word).filter(|w| is_word(w)).map(str::to_owned).collect()
}

fn is_word(text: &str) -> bool {
    text.chars().nth(1).is_some() && text.chars().all(is_cjk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_dictionary() {
        assert_eq!(words("去北京演出"), ["北京", "演出"]);
        let within = words("东北京剧团");
        assert!(within.contains(&"东北".to_owned()) && within.contains(&"京剧".to_owned()), "{within:?}");
        assert!(!within.contains(&"北京".to_owned()), "{within:?}");
    }

    #[test]
    fn traditional_text_has_the_same_words() {
        assert_eq!(words("國家秘密的知悉範圍"), words("国家秘密的知悉范围"));
        assert!(words("國家秘密").contains(&"国家".to_owned()));
    }

    #[test]
    fn what_is_no_chinese_word_has_none() {
        for text in ["", "abc 123", "班", "a班b", "，。"] {
            assert!(words(text).is_empty(), "{text}");
        }
    }
}
