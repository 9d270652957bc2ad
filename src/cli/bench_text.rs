//! Chinese texts for loads, and queries that find them: made-up sentences of common words, the same for the same seed.

use crate::domain::fault::Fault;
use crate::domain::limits;
use std::str::FromStr;
use std::sync::LazyLock;

/// Most characters of a text: each takes three bytes.
const MOST: u64 = limits::BODY_BYTES as u64 / 3;
/// Makes the draws for queries others than those for texts.
const FOR_QUERIES: u64 = 0x5155_4552_4945_5321;

/// Common words of two characters and more; those before are drawn more often than those behind.
const VOCABULARY: &str = "
    口岸 车辆 人员 货物 时间 地点 情况 发现 联系 电话 通报 核查 登记 线索 单位 部门 工作 信息 上午 下午 晚上 凌晨 昨日 今日
    附近 公路 码头 机场 车站 仓库 港口 边境 城区 郊区 大桥 隧道 停车场 检查站 办事处 服务区 收费站 加油站 宾馆 市场 超市 学校
    出境 入境 离开 到达 停留 经过 运输 装卸 存放 转移 交接 购买 出售 申报 查验 放行 扣留 退回 补充 更正 确认 否认 说明 反映
    驾驶员 乘客 司机 货主 代理 经理 职员 工人 学生 游客 居民 商人 邻居 朋友 亲属 同伴 证人 当事人 负责人 联系人 经办人 值班员
    护照 证件 车牌 号码 账户 银行 转账 现金 票据 合同 发票 清单 单据 凭证 邮件 短信 照片 录像 录音 记录 档案 报告 材料 文件
    集装箱 卡车 轿车 客车 摩托车 船只 渔船 货轮 飞机 航班 列车 包裹 箱子 行李 设备 零件 工具 药品 食品 木材 钢材 煤炭 粮食 水果
    可能 已经 正在 尚未 随后 同时 此前 此后 多次 首次 经常 偶尔 突然 立即 陆续 先后 继续 停止 开始 结束 增加 减少 改变 保持
    重要 紧急 一般 可疑 异常 正常 准确 模糊 完整 缺失 相同 不同 相关 无关 公开 秘密 直接 间接 主要 次要 临时 长期 固定 流动
    分析 研判 比对 汇总 梳理 排查 走访 询问 观察 跟进 协助 配合 协调 会商 布置 落实 反馈 上报 下发 转发 抄送 备案 归档 复核
    甲地 乙地 丙地 东区 西区 南区 北区 一号线 二号线 三号口岸 老城 新区 河东 河西 山口 海湾 岛屿 村庄 乡镇 县城 省界 国道 支路
    天气 大雾 暴雨 降雪 高温 台风 洪水 火情 停电 断路 拥堵 事故 故障 维修 施工 封闭 绕行 恢复 疏散 救援 安置 物资 帐篷 饮水
    演练 方案 预案 阶段 目标 任务 分工 步骤 要求 标准 规定 制度 程序 权限 责任 期限 进度 结果 结论 建议 措施 经验 教训 问题";

static WORDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| VOCABULARY.split_whitespace().collect());

/// How long the texts are, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chars {
    from: u64,
    to: u64,
}

impl FromStr for Chars {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Chars, Fault> {
        let parts: Option<(u64, u64)> =
            text.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
        match parts {
            Some((from, to)) if (1..=to).contains(&from) && to <= MOST => Ok(Chars { from, to }),
            _ => {
                Err(Fault::usage("USAGE", format!("`{text}` is not FROM-TO"))
                    .hint(format!("e.g. 300-600, at most {MOST}")))
            }
        }
    }
}

/// A made-up record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) title: String,
    pub(super) body: String,
}

/// The text of this number in the load of this seed.
pub(super) fn text(seed: u64, number: u64, chars: Chars) -> Text {
    let mut random = Random::of(seed, number);
    let title: String = (0..4).map(|_| random.word()).collect();
    let wanted = chars.from + random.below(chars.to - chars.from + 1);
    Text { title: format!("演练 {title}"), body: random.sentences(wanted) }
}

/// So many characters of sentences.
pub(super) fn text_of(seed: u64, chars: u64) -> String {
    Random::of(seed, 0).sentences(chars)
}

/// The query of this number: by turns a phrase of one of the first `records` texts, two words of one, and a word of the
/// vocabulary.
pub(super) fn query(seed: u64, number: u64, records: u64, chars: Chars) -> String {
    let mut random = Random::of(seed ^ FOR_QUERIES, number);
    let body = text(seed, random.below(records), chars).body;
    let clauses: Vec<&str> = body.split(['，', '。']).filter(|c| !c.is_empty()).collect();
    let mut begin = |most: usize| {
        let at = usize::try_from(random.below(clauses.len() as u64)).unwrap_or(0);
        clauses.get(at).map(|c| c.chars().take(most).collect::<String>()).unwrap_or_default()
    };
    match number % 3 {
        0 => format!("\"{}\"", begin(6)),
        // A clause begins with a word.
        1 => format!("{} {}", begin(2), begin(2)),
        _ => random.word().to_owned(),
    }
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn of(seed: u64, number: u64) -> Random {
        let mut first = Random(seed);
        Random(first.draw() ^ number)
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.draw() % n.max(1)
    }

    /// As in a language, few words are common and most are not.
    fn word(&mut self) -> &'static str {
        let most = WORDS.len() as u64;
        let at = self.below(most) * self.below(most) / most.max(1);
        WORDS.get(usize::try_from(at).unwrap_or(0)).copied().unwrap_or("口岸")
    }

    /// So many characters of sentences.
    fn sentences(&mut self, wanted: u64) -> String {
        let (mut text, mut made) = (String::new(), 0);
        while made < wanted {
            let sentence = self.sentence();
            made += sentence.chars().count() as u64;
            text.push_str(&sentence);
        }
        text.chars().take(usize::try_from(wanted).unwrap_or(usize::MAX)).collect()
    }

    /// Two to four clauses of two to six words, one in four with a number that hardly comes again.
    fn sentence(&mut self) -> String {
        let clauses = 2 + self.below(3);
        let mut out = String::new();
        for n in 1..=clauses {
            for _ in 0..2 + self.below(5) {
                out.push_str(self.word());
            }
            if self.below(4) == 0 {
                out.push_str(&format!("编号{}", 10_000 + self.below(990_000)));
            }
            out.push(if n == clauses { '。' } else { '，' });
        }
        out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::search::Query;
    use std::collections::BTreeSet;

    fn chars() -> Chars {
        "300-600".parse().unwrap()
    }

    #[test]
    fn lengths_are_parsed_with_their_limits() {
        assert_eq!(chars(), Chars { from: 300, to: 600 });
        assert_eq!("7-7".parse::<Chars>().unwrap(), Chars { from: 7, to: 7 });
        for wrong in ["", "300", "600-300", "0-5", "1-", "-1", "1-349526", "a-b"] {
            assert!(wrong.parse::<Chars>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn texts_are_the_same_for_a_seed_and_fit() {
        assert_eq!(text(1, 7, chars()), text(1, 7, chars()));
        assert_ne!(text(1, 7, chars()), text(2, 7, chars()));
        let mut lengths = BTreeSet::new();
        let mut bodies = BTreeSet::new();
        for number in 0..200 {
            let made = text(1, number, chars());
            assert!(made.title.chars().count() <= limits::TITLE_CHARS);
            lengths.insert(made.body.chars().count());
            bodies.insert(made.body);
        }
        assert!(lengths.first().unwrap() >= &300 && lengths.last().unwrap() <= &600 && lengths.len() > 50);
        assert_eq!(bodies.len(), 200);
    }

    #[test]
    fn bodies_have_their_size_and_are_texts() {
        let mut before = Vec::new();
        for bytes in [1, 2, 3, 100, 1024, 1025, 1026, 5000] {
            let mut body = Vec::new();
            super::super::bench_publish::fill(&mut body, bytes);
            assert_eq!(body.len(), bytes as usize);
            assert!(std::str::from_utf8(&body).is_ok());
            // The sentences are long enough: full stops stand for one cut character at most.
            assert!(body.iter().filter(|byte| **byte == b'.').count() < 3, "{bytes}");
            assert_ne!(body, before);
            before = body;
        }
    }

    #[test]
    fn queries_can_be_asked_and_their_phrases_stand_in_a_text() {
        let bodies: Vec<String> = (0..20).map(|n| text(1, n, chars()).body).collect();
        for number in 0..60 {
            let asked = query(1, number, 20, chars());
            assert!(Query::parse(&asked).is_ok(), "{asked}");
            let wanted: Vec<&str> = asked.split(' ').map(|w| w.trim_matches('"')).collect();
            if number % 3 < 2 {
                assert!(bodies.iter().any(|b| wanted.iter().all(|w| b.contains(*w))), "{asked}");
            }
        }
    }

    #[test]
    fn the_vocabulary_is_words_without_repetition() {
        let distinct: BTreeSet<_> = WORDS.iter().collect();
        assert_eq!(distinct.len(), WORDS.len());
        assert!(WORDS.iter().all(|w| w.chars().count() >= 2 && w.chars().all(|c| ('一'..='龥').contains(&c))));
    }
}
