//! One form for traditional and simplified characters.
//!
//! Each character by itself and one for one, so that positions and phrases stay exact: a word that depends on its neighbours
//! (乾坤 and 餅乾) cannot be told apart this way. The table is `simplified.txt`; its head says what is left out.

use std::sync::LazyLock;

/// What the table covers.
const FIRST: u32 = 0x3400;
const LAST: u32 = 0x9fff;

static TABLE: &str = include_str!("simplified.txt");

/// For each code point from `FIRST` to `LAST` its simplified form.
static FORMS: LazyLock<Vec<char>> = LazyLock::new(|| {
    let mut forms: Vec<char> = (FIRST..=LAST).filter_map(char::from_u32).collect();
    for (from, to) in pairs() {
        if let Some(form) = index(from).and_then(|at| forms.get_mut(at)) {
            *form = to;
        }
    }
    forms
});

/// The simplified form of a character, or itself.
pub(super) fn simplified(c: char) -> char {
    index(c).and_then(|at| FORMS.get(at)).copied().unwrap_or(c)
}

fn index(c: char) -> Option<usize> {
    (c as u32).checked_sub(FIRST).and_then(|at| usize::try_from(at).ok())
}

fn pairs() -> impl Iterator<Item = (char, char)> {
    TABLE.lines().filter(|l| !l.starts_with('#')).flat_map(|line| {
        let (from, to) = (line.chars().step_by(2), line.chars().skip(1).step_by(2));
        from.zip(to)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_normalization::UnicodeNormalization;

    #[test]
    fn traditional_becomes_simplified_and_simplified_stays() {
        let fold = |text: &str| text.chars().map(simplified).collect::<String>();
        assert_eq!(fold("國家秘密的知悉範圍，關於發佈"), "国家秘密的知悉范围，关于发布");
        assert_eq!(fold("頭髮與發現，裏面和裡面，以後"), "头发与发现，里面和里面，以后");
        for same in ["国家秘密的知悉范围", "著作与瞭望", "皇后里程", "ＡＢＣ abc 123", "カナ한글𨨏🙂"]
        {
            assert_eq!(fold(same), same);
        }
    }

    /// Folding twice is folding once, and no form is one that NFKC or lower case would change again.
    #[test]
    fn the_table_is_whole_and_settled() {
        assert!(TABLE.lines().filter(|l| !l.starts_with('#')).all(|l| l.chars().count() % 2 == 0));
        assert!(pairs().count() > 3000);
        for (from, to) in pairs() {
            assert!((FIRST..=LAST).contains(&(from as u32)) && from != to, "{from}");
            assert_eq!((simplified(from), simplified(to)), (to, to), "{from}");
            assert!([from, to].iter().all(|c| c.nfkc().eq([*c]) && c.to_lowercase().eq([*c])), "{from}{to}");
        }
    }
}
