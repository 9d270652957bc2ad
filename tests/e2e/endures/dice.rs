//! What a seed throws: choices, pauses and texts.

use std::time::Duration;

/// SplitMix64: the same seed throws the same.
pub struct Dice(u64);

/// Of what texts are made; jieba knows them.
const WORDS: [&str; 24] = [
    "口岸", "车辆", "货柜", "查验", "专班", "线索", "核实", "通报", "号牌", "仓库", "夜间", "值守", "货主", "报关",
    "航线", "联络", "人员", "证件", "资金", "账户", "转移", "布控", "放行", "登记",
];

impl Dice {
    /// The dice of one thread: those of another throw something else.
    pub fn new(seed: u64, thread: u64) -> Dice {
        let mut dice = Dice(seed);
        Dice(dice.throw() ^ Dice(thread).throw())
    }

    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.throw() % n as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Milliseconds from and to.
    pub fn between(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis((from + self.below(to - from)) as u64)
    }

    /// The id of a request.
    pub fn id(&mut self) -> Vec<u8> {
        [self.throw().to_be_bytes(), self.throw().to_be_bytes()].concat()
    }

    /// A text that begins with a word of its own: mostly short, now and then a long one.
    pub fn text(&mut self, word: &str) -> String {
        let words = if self.below(60) == 0 { 10_000 } else { 20 + self.below(400) };
        let mut text = format!("{word}。");
        (0..words).for_each(|_| text.push_str(self.pick(&WORDS)));
        text
    }
}
