//! What the command line says in Chinese: headings, words, reasons and sentences, as tables for `output`.

/// Chinese headings; a column without one keeps its name.
pub(super) const HEADINGS: &str = "
    ack_by 签收人 action 操作 actor 操作人 agency 机构 agreement 协议 author 承办人 answer 答复 applied 已应用 area 区域 at 时间 by 人员
    ceiling 系统密级 clearance 涉密等级 compartments 专项 decision 决定 default_period_years 默认保密年限 detail 详情
    digest 摘要 end 结束 ended_reason 终止原因 exercise 演练 from 来自 grade 密级 handle 代号 held 已有 id 编号
    index 账本序号 act 事项 needed 所需机构数 ledger 账本登记 lost 已灭失 may 可阅 waiting 待签署 issuer 发布单位 kind 类别 kinds 类别 label 标密 level 级别 missing 缺少 name 名称 node 节点 nodes 节点
    notice 通报 origin 原发机构 owed 应有 parties 缔约机构 precedence 等级 publishers 发布方 purpose 查阅事由 reachable 可达
    reason 原因 record 情报 role 角色 roles 角色 roots 证书机构指纹 rule 规则 seq 序号 signed_by 已签署 since 始于 snippet 摘录 stage 阶段
    start 开始 state 状态 subject 主题 suite 密码套件 suspended 已停用 text 内容 tier 层级 title 标题 unit 单位 unopenable 打不开
    until 有效期至 version 版本 voter 表决 who 查阅人";

/// Words of commands and answers for which `domain` has no Chinese.
pub(super) const WORDS: &str = "
    true 是 false 否 ok 正常 warning 提醒 bad 故障 allow 允许 deny 拒绝 intent 事前 outcome 事后 single 单次
    national 中央 provincial 省级 city 设区的市 county 县级 voter 表决节点 learner 学习节点 joining 正在加入表决 leaving 正在退出表决
    analyst 研判员 originator 承办人 classifier 定密责任人 duty-officer 值班员 security-officer 保密员
    inspector 监督员 operator 运维员
    report 报告 lead 线索 person 人员 item 物品 fund 资金 place 场所 event 事件 case 案件
    admit 接纳 remove-node 移除节点 voters 表决节点 admitted 已接纳 removed 已移除
    suspend 停权 reinstate 复权 suspended 已停权 lost 已灭失 committed 已提交 folded 已归并 proposed 待定密审批 rejected 已退回 accepted 已受理 draft 待签署 in-force 有效 ended 已终止 done 完成 pending 待会签 overtaken 已被另一更改取代 waiting-for-certificate 等待认证 register 登记 add-node 增加节点
    preferred 首选 decrypt-only 仅可解密 forbidden 已禁用
    imported 新导入 updated 已更新 unchanged 未变
    cancelled 已撤回 unknown 未知 expired 已过期 marking-confirmed 定密已确认 undelivered 未按时送达
    unacknowledged 未按时签收 deputy 已呼叫副手 chain 已呼叫值班链 out-of-band 已带外呼叫 reminder 已提醒
    unconfirmed 定密未确认 recalling 正在收回 pushed 已推送 handled 已办理 feedback 已反馈
    publish 发布 load 装载 open 查阅 snippet 摘录 list 列表 search 检索 export 导出 history 版本历史 import 导入
    audit-query 审计查询 audit-export 审计导出 policy-explain 策略解释 person-admin 人员管理 agreement 协议 guide 定密细目
    sync-push 同步发送 sync-pull 同步拉取 sync-refused 同步拒收 index 建立索引 quarantine 隔离 rebuild 重建 start 启动
    stop 停止 relabel 变更标密 recall 收回 purge 清除 notice-send 发送通报 notice-receive 接收通报 notice-open 查看通报
    notice-answer 签收答复 break-glass 应急调阅 policy 策略 key 密钥 membership 成员变更 witness 见证 backup 备份
    restore 恢复 request 查询请求 access-report 查阅报告 peer-refused 拒绝连接 count 计数 stream 结果流 who-read 查阅记录
    complaint 拒收告知 notice-anchor 通报锚定 approve 审批 reject 退回 amend 更正 who-can 可阅范围
    ceiling 系统密级 trust-root 证书机构 suites 密码套件 evaluation 评估
    notice 通报 clock 时钟 configuration 配置 keys 密钥 data 数据目录 disk 磁盘 memory 内存 node 节点 leader 主节点 evidence 证据 standing 机构资格 peers 其他节点
    ledger 账本 sync 同步 suite 密码套件 revocation 吊销列表 configure 更改配置 grade 密级 kind 情报类别 date 日期 role 角色 tier 层级
    reference 关联要素 caveat 处理限制 descriptor 机构描述 genesis 创世 profile 个人配置";

/// What a reason says in Chinese, where the sentence itself has none.
pub(super) const REASONS: &str = "
    ABOVE_CEILING 密级高于系统密级 AGENCY_SUSPENDED 该机构已被停权 FOREIGN_RECORD 不是本机构的情报 ABOVE_CLEARANCE 密级高于您的涉密等级 ATTACHMENT_NOT_RELEASED 收件方无权查看所附情报
    AUDIT_FAILED 审计日志无法写入，一切操作停止 AUDIT_STOPPED 审计日志无法写入，一切操作停止
    AUDIT_INVALID 审计日志核验不符 AUDIT_IO 审计日志文件无法读写 AUDIT_UNAVAILABLE 审计日志暂不可用 BEYOND_LOG 超出审计日志范围 BAD_ACT 签署内容无效
    BAD_ADDRESSEE 收件方无效 BAD_ANSWER 答复无效 BAD_BODY 正文无效 BAD_CERTIFICATE 证书无效 BAD_CRL 吊销列表无效 BAD_CONFIG 节点配置无效
    BAD_CSR 证书申请无效 BAD_DATE 日期无效 BAD_DESCRIPTOR 机构描述文件无效 BAD_DIR 无法使用该目录 BAD_FILE 文件格式不符
    BAD_GENESIS 创世文件无效 BAD_KEY 密钥无效 BAD_NAME 名称无效 BAD_PERSON 人员信息无效 BAD_POLICY_SET 策略集无效
    BAD_ROOT 证书机构无效 BAD_PROFILE 个人配置文件无效 BAD_PURPOSE 须填写查阅事由（1至200字） BAD_QUERY 检索式无效 BAD_REFERENCE 关联要素无效
    BAD_OBJECT STIX对象无效 BAD_REASON 原因无效（1至200字） BAD_REQUEST 证书申请无效 BAD_SOURCE 来源无效 BAD_SUBJECT 主题无效 BAD_TERMS 协议条款无效 BAD_TITLE 标题无效
    BAD_TLS 证书与密钥不符 CERTIFICATE_REFUSED 节点拒绝了此证书 BAD_WARNING 预警无效 BODY_TOO_LARGE 内容过大 BUDGET 本机构本分钟的账本配额已用完 CERTIFICATE 证书出错
    COMPARTMENT_NOT_HELD 您不在该专项知悉范围内 CONFLICT 与他人的操作冲突 DATA_IN_USE 数据目录正被另一节点使用
    DEADLINE 超过等待时限 DISK_FULL 节点磁盘将满 DIR_NOT_EMPTY 目录不为空 EXISTS 已存在 EXPIRED 已过期 FOLDED 该版本早已被更正取代并归并 FLASH_QUOTA 特提通报过于频繁
    FOREIGN_DATA 数据目录属于其他节点或联盟 FOREIGN_ORIGINATOR 只有原发机构的人员可以标密 INTEGRITY 完整性校验失败
    INTERNAL 程序内部错误 INVALID 输入无效 IN_PROGRESS 同一操作正在进行 JOURNAL_FAILED 节点无法写盘 MEMORY_FULL 节点内存已达上限
    LEDGER_HALTED 账本停写 MARKING_AUTHORITY 超出本机构定密权限 MIXED_CHANGE 不能同时收紧和放宽 NODE_UNREACHABLE 节点无应答 NOT_READY 节点未就绪 NOT_ALLOWED 不允许此操作
    NOT_A_PARTY 不是协议缔约机构 NOT_COVERED 没有覆盖各收件方的有效协议 NOT_FOUND 未找到，或您无权查看
    NOT_FRESH 节点数据尚未更新到最新 NOT_OPENABLE 本节点打不开该情报 NOT_SUPPORTED 本版本不支持
    NO_AUTHORITY 没有签署权限 NO_GRADE_KEY 该机构没有此密级的密钥 NO_SUITE 须有且仅有一个首选密码套件 NO_GUIDE 没有适用的定密细目 NO_LEADER 当前没有主节点 NO_PROFILE 未指定个人配置文件
    NUMBER_TAKEN 批次编号已被占用，未写入账本
    ONE_SEAT 一次只能变更一个机构的表决席位 OUTBOX_FULL 待发通报已满 PORTION_LEFT_OUT 更正缺少已发布的低密级部分 OUTSIDE_AGREEMENT 超出协议范围 OVERLOADED 节点繁忙 PEER_REFUSED 连接被拒绝
    PERIOD_TOO_LONG 保密期限超过法定上限 PERSON_CHANGED 人员信息已被他人更改 POLICY_REFUSED 策略不允许
    PORT_IN_USE 端口已被占用 PROGRAM_TOO_OLD 程序版本过旧，须先升级 REFUSED 被拒绝 RECALLED 已被收回 RELABEL_NEEDED 须变更标密 REJECTED 已被退回 REFUSED_BY_LEDGER 账本不接受 SAME_PERSON 同一人不能充当两人
    SEARCH_FAILED 检索失败 SUSPENDED 您的权限已被停用 TOO_LONG 内容过长 TOO_MANY 数量过多 UNAVAILABLE 暂不可用
    UNKNOWN_AGENCY 没有这个机构 UNKNOWN_NODE 没有这个节点 NODE_REMOVED 该节点已被移出联盟 BAD_NODE 节点名称无效 UNKNOWN_AGREEMENT 没有这个有效协议 UNKNOWN_GRADE 没有这个密级 UNKNOWN_GROUP 没有这个收件组
    UNKNOWN_SUITE 没有这个密码套件 UNKNOWN_PERSON 本节点不认识您，或您的权限已被收回 UNOPENABLE 密封数据损坏或打不开 UNREACHABLE 收件方暂不可达
    UNSIGNED 创世文件签署不全 VERSION_CONFLICT 已被他人先行更改";

/// Longer texts are nobody's fixed words, in bytes.
pub(super) const LONGEST_SENTENCE: usize = 1_000;

/// Sentences of this program and its nodes. `{}` stands for what differs, and `{+}` where that is in Chinese too.
pub(super) const SENTENCES: &str = "
    no marking guide covers it: it waits for a classifier to approve it, and nobody else sees it => 没有适用的定密细目：等待定密责任人审批，其他人看不到
    version {} was superseded over ninety days ago => 第 {} 版九十日前已被更正取代
    it was superseded over ninety days ago => 九十日前已被更正取代
    `hufu record history` shows what the ledger has => 账本现有版本见 `hufu record history`
    it was proposed, and turned down or taken back => 该情报曾提请审批，已被退回或撤回
    you wrote it yourself, and the same person is not two => 这是您自己承办的，同一人不能充当两人
    its {} portion is published, and would stay as it was => 其中{+}部分已发布，更正不能将其略去
    give --portion a text of that grade too; one that says that the earlier text does not hold, if so => 请用 --portion 一并给出该密级的文本；原文不再成立的，写明即可
    `{}` was ended already => 协议 `{}` 已终止
    `hufu agreement show` says when and why => 时间和原因见 `hufu agreement show`
    `{}` is suspended already => `{}` 已停权
    `{}` is not suspended => `{}` 未停权
    no leader is known at this moment => 当前没有已知的主节点
    ask again soon => 请稍后再试
    without --agreement and that caveat it stays with your own agency => 不写 --agreement 和该限制，情报即只留在本机构
    another classifier approves it => 请由另一位定密责任人审批
    reject it; its author publishes it anew => 请退回，由承办人重新发布
    agreement `{}` ended or changed since it was proposed => 提请之后协议 `{}` 已终止或变更
    see `hufu record proposals` => 见 `hufu record proposals`
    too many proposals wait for a classifier already => 待定密责任人审批的情报过多
    its author may not publish it any more => 承办人已无权发布该情报
    reject it; somebody else publishes it anew => 请退回，由他人重新发布
    it was decided already => 已作出决定
    give --title, --body, --body-file or --portion => 请给出 --title、--body、--body-file 或 --portion
    say with --reason what was wrong or what is new => 请用 --reason 说明更正了什么或新增了什么
    it waits for a classifier and is not published yet => 正待定密责任人审批，尚未发布
    take it back with `hufu record reject` and publish it anew => 请用 `hufu record reject` 撤回后重新发布
    version {} is the newest one => 最新版本为第 {} 版
    look at it, and repeat with --version {} => 请先查阅，再用 --version {} 重试
    an amendment neither lowers nor widens a label => 更正不得降低密级或扩大知悉范围
    relabelling takes two persons; publish it as another record => 变更标密须两人办理；请另行发布
    a classifier runs `hufu guide sign`; an amendment cannot be proposed in this version => 请定密责任人运行 `hufu guide sign`；本版本不能将更正提请审批
    it was amended since it was imported => 导入之后已被更正
    bring the change in with `hufu record amend` => 请用 `hufu record amend` 更正
    `{}`, which is a part of it, cannot be read here => 其中的 `{}` 在此无法读取
    open it where it is; its originator's people decide what leaves => 请在系统内查阅；能否导出由原发机构决定
    give the folder that `hufu record export --sealed --out` wrote => 请指定 `hufu record export --sealed --out` 写出的目录
    `{}` is a copy in clear, which no signature covers => `{}` 是明文副本，没有签名可核验
    compare its files with the SHA-256 in its MANIFEST.json; `hufu record verify` checks what `hufu record export --sealed` wrote => 请将各文件与其 MANIFEST.json 中的 SHA-256 比对；`hufu record verify` 只核验 `hufu record export --sealed` 写出的副本
    `{}` is an export of an audit log => `{}` 是审计日志的导出
    check it with `hufu audit verify` => 请用 `hufu audit verify` 核验
    `{}` is no folder => `{}` 不是目录
    give the folder that `hufu audit export --out` wrote => 请指定 `hufu audit export --out` 写出的目录
    `genesis.json`: it is not the genesis that was given => `genesis.json` 不是所给的创世文件
    `checkpoint`: no node of the genesis keeps a log named `{}` => 创世文件中没有节点的日志名为 `{}`
    nothing can be read or changed without its audit entry; check the disk and restart the node => 没有审计记录就不能查阅或更改；请检查磁盘并重启节点
    bring the node's data back as it was; a log with a gap is evidence, and nothing is served from it => 请将节点数据恢复原状；有缺口的日志是证据，其节点不再提供服务
    the audit log has {} events, {} was asked for => 审计日志有 {} 条，所查为 {}
    the ledger refused it: {} => 账本不接受：{+}
    a signature does not verify => 签名核验不符
    it came after its expiry => 已过有效期
    somebody else changed it first => 已被他人先行更改
    the signer has no authority for it => 签署人没有此项职权
    there is no such object => 没有这一对象
    there is another object of this name => 已有同名对象
    its content is not allowed => 内容不符合规定
    the ledger's level has no such command => 账本规则级别尚无此操作
    it is over what the agency may put on the ledger in a minute => 超出本机构每分钟的账本配额
    the voters change by one agency's seat at a time => 一次只能变更一个机构的表决席位
    it widens and narrows at once => 同时收紧和放宽
    it names a suite that nobody has, or none to seal with => 所列套件不存在，或没有首选套件
    the agency has no key for that grade => 该机构没有此密级的密钥
    somebody was first; look again => 他人已先行处理，请重新查看
    the passphrase does not open the key ring => 口令打不开密钥环
    the change is in force at your own node; repeat the command when there is a leader, for the ledger => 更改已在本机构节点生效；有主节点后请重复此命令，以便在账本登记
    this node holds it and serves it, so it is not lost => 本节点持有并可提供该情报，并未灭失
    an agency's own officers add its nodes => 节点由本机构保密员自行添加
    `{}` was removed, and its id is never used again => `{}` 已被移除，其编号不再使用
    make a node with another id => 请用其他编号另建节点
    `{}` votes => `{}` 是表决节点
    take it off the voters first: `hufu cluster demote` => 请先用 `hufu cluster demote` 取消其表决
    `{}` has no node `{}` => `{}` 没有节点 `{}`
    `{}` does not vote => `{}` 不是表决节点
    another node leads, and only it hands over => 当前主节点是其他节点，只能由其移交
    the leader is of `{}`: its officer runs this => 主节点属于 `{}`，请由该机构保密员执行
    `{}` is not AGENCY/NODE => `{}` 不是“机构/节点”的形式
    e.g. customs/1 => 例如 customs/1
    `{}` is an agency of this federation already => `{}` 已是本联盟机构
    the last change of the voters is not done yet => 上一次表决节点变更尚未完成
    this node was removed from the federation => 本节点已被移出联盟
    something that was changed meanwhile kept it from taking force => 其间的变更使其未能生效
    it counts anew with the next minute of the ledger's time; asking again is safe => 账本时间进入下一分钟后重新计算，可放心重试
    an agency has no voice in its own ceiling, tier and authority => 机构对自身的系统密级、层级和证书机构没有表决权
    officers of the other agencies run this => 请由其他机构的保密员执行
    the ledger's rules are of level {}, and this needs {} => 账本规则级别为 {}，此操作需要 {} 级
    the level rises by itself when every node runs a version that knows it => 所有节点升级后，级别自动提升
    in two acts: what narrows, and what widens => 请分两次执行：先收紧，再放宽
    `{}` came in without a key for {}: nothing could be sealed to it => `{}` 加入时没有{+}级密钥，无法向其密封
    a ceiling is raised up to that of its descriptor => 系统密级最高可恢复到其机构描述中的级别
    it is an authority of `{}` in `{}`, and not of `{}` => 它是 `{}`（联盟 `{}`）的证书机构，不是 `{}` 的
    no node has suite {} => 没有节点支持套件 {}
    there is suite {} => 现有套件 {}
    exactly one suite is preferred, or nothing could be sealed => 须有且仅有一个首选套件，否则无法密封
    name it with --preferred => 请用 --preferred 指定
    it says nothing of suite {} => 没有说明套件 {} 的状态
    an agency has no voice in its own standing => 机构对自身的停权或复权没有表决权
    a person who is suspended is not registered => 已停用的人员不予登记
    `{}` is suspended from the federation => `{}` 已被联盟停权
    `hufu federation show` says who stands => 用 `hufu federation show` 查看各机构状态
    `{}` is there already => `{}` 已存在
    no majority of those who vote would be left, and the ledger would stand still for good => 剩余的表决机构将不足半数，账本将永久停止
    the end of retention is over already => 保存期限已过
    the grade is above your clearance, {} => 密级高于您的涉密等级（{+}）
    no profile given => 未指定个人配置文件
    use --profile FILE or set HUFU_PROFILE => 请用 --profile 指定文件，或设置 HUFU_PROFILE
    a command is missing => 缺少子命令
    nothing was done; ask again in a moment => 未做任何操作，请稍后重试
    too many calls of yours are under way => 您同时进行的请求过多
    the node has as many calls under way as it takes => 节点同时处理的请求已达上限
    too many calls are under way on one connection => 同一连接上的请求过多
    too many records wait for the node's disk => 等待写盘的情报过多
    too many notices wait for the node's disk => 等待写盘的通报过多
    too many events wait for the disk of the audit log => 等待写盘的审计记录过多
    too many commands wait for the ledger => 等待登记账本的操作过多
    too much waits for the ledger => 等待登记账本的操作过多
    the node's disk is nearly full, so it takes no content in => 节点磁盘将满，不再接收内容
    reading and notices go on; whoever runs the node makes room, and it goes on by itself => 查阅和通报不受影响；请运维员腾出空间，之后自动恢复
    the node's disk is so full that only notices are taken => 节点磁盘已满，只接收通报
    the node's disk is too full for a notice of this precedence => 节点磁盘已满，不再接收该等级的通报
    a flash is taken to the last; whoever runs the node makes room => 特提通报仍可发送；请运维员腾出空间
    the node's memory is at its bound, so it takes no content in => 节点内存已达上限，不再接收内容
    reading and notices go on; whoever runs the node gives it more memory and raises `load.memory_mib` => 查阅和通报不受影响；请运维员增加节点内存并调高 `load.memory_mib`
    the node's memory is too full for a notice of this precedence => 节点内存已满，不再接收该等级的通报
    immediate notices and flashes are taken; whoever runs the node gives it more memory => 特急和特提通报仍可发送；请运维员增加节点内存
    the node's disk is full, so the node stops before a write fails => 节点磁盘已满，节点在写盘失败之前停止运行
    make room outside the data folder, or enlarge the disk, and start the node again => 请在数据目录之外腾出空间或扩大磁盘，再启动节点
    nothing to change => 没有指定要更改的内容
    no key to sign with => 没有签名用的密钥
    give --key FILE or --profile FILE => 请用 --key 或 --profile 指定文件
    no descriptor given => 未指定机构描述文件
    this key is not an officer's key of any founder => 该密钥不属于任何发起机构的保密员
    an officer of every founder runs `hufu federation sign FILE` => 请各发起机构的保密员执行 `hufu federation sign FILE`
    `{}` is neither empty nor a demo's => `{}` 不为空，也不是演示目录
    `{}` is not empty => `{}` 不为空
    give a new folder => 请指定新目录
    give another --dir => 请用 --dir 指定其他目录
    give another --port-base, or stop what listens there => 请换一个 --port-base，或停止占用端口的程序
    each export gets a folder of its own; an earlier one is kept as it is => 每次导出须用新目录，原有导出保持不变
    cannot read `{}`: {} => 无法读取 `{}`：{+}
    cannot read it: {} => 无法读取：{+}
    cannot write `{}`: {} => 无法写入 `{}`：{+}
    cannot print: {} => 无法输出：{+}
    check the path and who may read it => 请核对路径和读取权限
    check the path, the free space and who may write there => 请核对路径、剩余空间和写入权限
    a profile has endpoint, ca, cert, key and name => 个人配置文件须有 endpoint、ca、cert、key 和 name
    no body given => 没有正文
    use --body or --body-file => 请用 --body 或 --body-file
    `{}` is not FILE:GRADE => `{}` 不是“文件:密级”的形式
    e.g. tear-line.txt:internal => 例如 tear-line.txt:internal
    the {} has {} bytes; the limit is {} (1 MiB) => 内容过大（1 MiB 为限）
    the texts have {} bytes together; the limit is {} (1 MiB) => 各段共 {} 字节，超过 {} 字节（1 MiB）
    the {} has {} bytes; the limit is {} (16 MiB) => 内容过大（16 MiB 为限）
    a portion has {} bytes; the limit is {} (1 MiB) => 每个密点以 1 MiB 为限
    publish it as a record of its own: its body may have up to 16 MiB => 请另行发布为一份情报，其正文可达 16 MiB
    a body in pieces comes without further texts => 超过 1 MiB 的正文不能另附密点
    publish the portions as records of their own => 请将各密点另行发布为情报
    its texts are too large to be taken in one piece => 文本过大，不能整体取用
    read it in pieces, as `hufu record open` does; an amendment gives its text anew, with --body-file => 请分段读取，如 `hufu record open`；修改时请用 --body-file 重新给出全文
    {} bytes of the text did not come => 正文缺少 {} 字节
    more of the text came than was announced => 正文多于事先所报的长度
    the text is not UTF-8: the first wrong byte is at offset {} => 正文不是 UTF-8 文本：首个错误字节位于偏移 {}
    {} bytes of its texts were given out before, as they were sealed; the rest is missing => 此前已给出 {} 字节，与封装时一致；其余缺失
    share it as several records => 请分为几份情报
    `--format misp` is not available in this version => 本版本不支持 `--format misp`
    convert it to a STIX bundle or to text => 请转为 STIX 或文本后导入
    its marking says {}, and --grade says {} => 其标记为 {+}，而 --grade 为 {+}
    an import does not lower a grade: give that one or a higher => 导入不得降低密级，请给出同级或更高密级
    no grade follows from its marking {} => 其标记 {} 不能确定密级
    it, or a relationship of it, has no marking that states a grade => 该对象或其关系没有可确定密级的标记
    {} of its relations stand in the text alone: a record has at most {} references => 有 {} 项关系只列在正文中：每份情报最多 {} 个关联要素
    the file is no STIX bundle: {} => 不是 STIX bundle 文件：{+}
    a STIX object without a bundle => 单个 STIX 对象，没有 bundle
    the bundle has no `objects` => bundle 中没有 `objects`
    give a JSON file with a STIX 2.0 or 2.1 bundle => 请给出 STIX 2.0 或 2.1 的 bundle（JSON 文件）
    look at objects[{}] of `{}` => 请查看 objects[{}]，文件 `{}`
    a newer version of it is there => 另有更新的版本
    it is there more than once, with different content and no later version => 同一对象有多个，内容不同且版本不分先后
    its source `{}` is not among what is imported => 其来源对象 `{}` 不在导入之列
    the key `{}` stands twice in one object => 同一对象中键 `{}` 出现两次
    it is nested deeper than {} levels => 嵌套超过 {} 层
    the files have more than {} bytes together (128 MiB) => 各文件共超过 {} 字节（128 MiB）
    import them one after the other => 请逐个导入
    a text carries no grade of its own => 文本本身不带密级
    add --grade internal|confidential|secret|top-secret => 请加 --grade internal|confidential|secret|top-secret
    `{}` is there twice under the named paths => 所给路径下有两个 `{}`
    the relative path is the identity of a source: import the paths one after the other => 来源以相对路径识别，请逐个路径导入
    no {} file under the named paths => 所给路径下没有 {+} 文件
    name a file, or a folder that has some => 请指定文件，或含有此类文件的目录
    run the same import again: what is imported already stays as it is => 请重新执行同一导入，已导入的不变
    `{}` is not a guide's id => `{}` 不是定密细目编号
    a refusal gives its reason => 拒办须说明理由
    add --text => 请加 --text
    the node asks for a signature under other words than yours => 节点要求签署的内容与您的不一致
    each addressee has seen it, or it is taken back already => 各收件方均已看到，或已撤回、收回
    see `hufu notice track`; what was seen is taken back with `hufu notice recall` => 见 `hufu notice track`；已看到的可用 `hufu notice recall` 收回
    a reason has 1 to {} characters => 原因须为 1 至 {} 字
    its sender has recalled it => 发送方已收回
    `hufu notice show` says who did, and why => 收回人和原因见 `hufu notice show`
    its sender has withdrawn it => 发送方已撤回
    nobody of your agency had seen it; there is nothing to do => 本机构无人看到过，无须处理
    not `{}` yet => 尚未达到 `{}`
    not `{}`, and nothing is tried any more that could bring it => 未达到 `{}`，且已不再尝试
    a late receipt still corrects it; where delivery is unknown, ask the addressee by other means => 迟到的回执仍会更正；送达情况不明的，请以其他方式向收件方核实
    it goes on by itself; ask again, or wait longer with --timeout => 仍在自动进行；可再次查询，或用 --timeout 延长等待
    only a warning of the own agency can be updated => 只能更新本机构发布的预警
    only a warning of the own agency can be ended => 只能解除本机构发布的预警
    the earlier warning was real, and an exercise does not update it => 原预警是真实预警，演练不能更新它
    leave out --exercise, or issue it as a new warning => 请去掉 --exercise，或另行发布预警
    what is top-secret is not written to a file (SSR §29) => 绝密内容不得写入文件（保密法实施条例第二十九条）
    issue it without --cap => 请不用 --cap 发布
    the notice is out; its file is not: do not issue it again => 通报已发出，只是文件未写成；请勿重发
    a notice did not come in => 有通报未送到
    committed at {}; the originator still holds the only copy => 已提交（{}）；目前只有原发机构持有副本
    committed at {}; held by {} of {} => 已提交（{}）；{} 个机构已持有，共应 {} 个
    accepted here and not committed yet ({}); it goes on the ledger by itself, do not repeat it => 已受理，尚未提交（{+}）；将自动上账，请勿重复
    nothing to look at => 没有指定检查对象
    give --config FILE of a node, --profile, or both => 请用 --config 指定节点配置，或用 --profile，或两者都用
    this machine's clock says {} => 本机时钟为 {}
    set it, and run an NTP client => 请校正时钟并运行 NTP
    agency {}, node {} => 机构 {}，节点 {}
    genesis, key ring and certificate agree; valid until {} => 创世文件、密钥环和证书一致；有效期至 {}
    the node's certificate ended on {} => 节点证书已于 {} 到期
    issue a new one with the agency's authority => 请用本机构证书机构重新签发
    the list of the own agency revokes this node's certificate => 本机构的吊销列表已吊销本节点证书
    issue another one: `hufu agency renew` => 请重新签发：`hufu agency renew`
    the list of {} ended on {} => {} 的吊销列表已于 {} 到期
    nobody of that agency is taken: ask for its newest list => 该机构的证书一律拒绝：请索取其最新列表
    the list of {} ends on {} => {} 的吊销列表将于 {} 到期
    put its next one in place before: then nobody of that agency is taken any more => 请在此之前放好下一份，否则该机构的证书将一律拒绝
    the list of {} counts until {} => {} 的吊销列表有效期至 {}
    no revocation list is configured for: {} => 未配置下列机构的吊销列表：{}
    a certificate of theirs counts until it is over, whatever its agency says; add them under `[crl]` => 其证书即使已被吊销，到期前仍被接受；请在 `[crl]` 下添加
    each agency's authority revokes its own => 各机构证书机构只吊销本机构证书
    put the newest list back, from a backup or from any node that has it, then repeat => 请从备份或任一节点取回最新列表后重试
    the first start makes it; later this is a loss => 首次启动时会创建；此后若缺失即为数据丢失
    `{}` is open to others (mode {}) => `{}` 对其他用户开放（权限 {}）
    chmod 700 it => 请将权限改为 700
    less than 2 GiB are free => 剩余空间不足 2 GiB
    a full disk stops publishing, then reading: make room => 磁盘满后先停发布、再停查阅，请腾出空间
    {} GiB free => 剩余 {} GiB
    free space is unknown: {} => 剩余空间未知：{+}
    run the doctor as the node's user => 请以节点的用户身份运行诊断
    fdatasync takes {} µs: no disk is that fast => fdatasync 仅用 {} 微秒，磁盘不可能这样快
    memory, or a write cache without protection: what is acknowledged would not survive a power cut => 是内存或无断电保护的写缓存：断电会丢失已确认的数据
    fdatasync takes {} µs => fdatasync 用时 {} 微秒
    every acknowledged write waits for it: give it a faster disk => 每次确认写入都要等它，请换用更快的磁盘
    fdatasync of 1 KiB: median {} µs => 1 KiB 的 fdatasync 中位数 {} 微秒
    answers {} of {} => 已应答 {}（联盟 {}）
    no leader: nothing can be published => 没有主节点，无法发布
    more than half of the voters must run and reach each other => 须有过半表决节点运行且互通
    closed for writing: {} => 账本停写：{}
    see `ledger/evidence` in the node's data and agree with the other agencies; moving it away and a restart open it => 请查看节点数据中的 `ledger/evidence` 并与其他机构商定；移走后重启即恢复
    {} cannot open {} v{}: {} => {} 打不开 {} 第 {} 版：{+}
    publish the record again => 请重新发布该情报
    its node serves its own people alone; officers of the other agencies lift it with `hufu federation reinstate` => 本机构节点只服务本机构人员；由其他机构的保密员用 `hufu federation reinstate` 复权
    look at the way to them; if it is good, ask another agency by voice whether yours was suspended => 请检查通往它们的网络；网络正常的，请口头向其他机构核实本机构是否已被停权
    {} nodes reachable => {} 个节点可达
    not reachable: {} => 不可达：{}
    look at these nodes and the way to them => 请检查这些节点及其网络
    one digest at index {} => 序号 {} 处摘要一致
    nodes disagree at index {} => 各节点在序号 {} 处不一致
    stop publishing, compare `hufu cluster status` at every agency => 请停止发布，并比对各机构的 `hufu cluster status`
    {}: {} v{} does not open; {} => {}：{} 第 {} 版打不开；{+}
    the originator was told and publishes it again => 已告知原发机构，由其重新发布
    {}: {} of {} held => {}：已有 {} 件，应有 {} 件
    {}: {} of {} missing; {} => {}：缺 {} 件，应有 {} 件；{+}
    it is tried again by itself => 会自动重试
    is it running? see `hufu doctor`, and the profile's endpoint => 请确认节点在运行；参见 `hufu doctor` 和个人配置文件中的 endpoint
    the node ended the stream before it answered => 节点在答复之前结束了传输
    asking again is safe: the same request gets the first answer => 可放心重试：同一请求得到首次的答复
    `hufu cluster status` shows who is reachable; asking again is safe => `hufu cluster status` 显示哪些节点可达；可放心重试
    does not answer => 无应答
    has none => 没有该情报
    not arrived yet => 尚未送达
    refused: {} => 拒收：{+}
    not yet: {} => 暂不能收：{+}
    a sealed object is not as it should be: {} => 密封数据不符：{+}
    an agency may not hold this label => 有机构不得持有该标密
    no agreement in force here covers it => 没有有效协议覆盖
    label {}, clearance {} => 标密 {+}，涉密等级 {+}
    person of {}, clearance of {} => 人员属 {}，涉密等级由 {} 核定
    known to [{}], person of {} => 知悉范围 [{}]，人员属 {}
    own: {}, covered: {} => 本机构情报：{+}，协议覆盖：{+}
    in scope: {} => 在知悉范围内：{+}
    not found, or not visible to you => 未找到，或您无权查看
    a purpose has 1 to 200 characters => 须填写查阅事由（1 至 200 字）
    state a case number or an order with --purpose => 请用 --purpose 填写案号或批示
    the grade is above your clearance => 密级高于您的涉密等级
    this node does not know you, or your access was taken away => 本节点不认识您，或您的权限已被收回
    ask a security officer of your agency; whoever is one asks another => 请联系本机构保密员；本人即保密员的，请联系另一位保密员
    the node does not answer => 节点无应答
    node `{}` of your agency may have it, and does not answer => 本机构节点 `{}` 可能存有，但无应答
    {} ({}) needs a classification period => {}须有保密期限
    add --period YEARS, --until DATE or --condition TEXT, or an agreement with a default => 请加 --period 年数、--until 日期或 --condition 条件，或用带默认期限的协议
    the period is over the {} years that {} ({}) may last => 保密期限超过 {} 年（{}的法定上限）
    保守国家秘密法 §20: at most 30, 20 and 10 years for 绝密, 机密 and 秘密 => 保守国家秘密法第二十条：绝密、机密、秘密分别不超过三十年、二十年、十年
    a record of kind `{}` gives its own retention date => `{}` 类情报须自定保存期限
    add --retain-until DATE => 请加 --retain-until 日期
    no classifier's marking guide covers this: two persons mark a state secret => 没有适用的定密细目：国家秘密须两人定密
    a classifier runs `hufu guide sign`; a single record can be proposed with `hufu record publish` => 请定密责任人运行 `hufu guide sign`；单件情报可用 `hufu record publish` 提请审批
    write 2026-03-01 or 2026-03-01T08:00:00Z => 请写作 2026-03-01 或 2026-03-01T08:00:00Z
    it is `{}` and 26 characters => 编号为 `{}` 加 26 个字符
    `{}` is not a valid {} => `{}` 无效
    `{}` is not a {}: {} => `{}` 不是{+}文件：{}
    `{}` is not a {} => `{}` 不是{+}
    `{}` is no {} => `{}` 无效
    write type:value, e.g. phone:13800000000, plate:A12345, account:6222… => 请写作 类型:值，例如 phone:13800000000
    内部 (internal) is not a state secret and takes no period => 内部不是国家秘密，不设保密期限
    leave out --period, --until and --condition => 请去掉 --period、--until 和 --condition
    compare with deploy/hufu.toml => 请对照 deploy/hufu.toml
    use 2 to {} lower-case letters, digits and hyphens, a letter first => 请用 2 至 {} 个小写字母、数字或连字符，以字母开头
    terms have {} => 条款文件的字段：{}
    nothing was signed; tell your agency's security officer and operator => 未签署任何内容；请报告本机构保密员和运维员
    nothing was written there; tell your agency's security officer and operator => 未写入该处；请报告本机构保密员和运维员
    keep the folder as it is, export again and compare => 请保持该目录原状，重新导出后比对
    `{}` holds no schema.cedarschema, so there is no policy set to try => `{}` 中没有 schema.cedarschema，没有可检查的策略集
    name a folder with schema.cedarschema and *.cedar, or add --built-in => 请指定含 schema.cedarschema 和 *.cedar 的目录，或加 --built-in
    cannot tell whose data folder `{}` is: {} => 无法确定数据目录 `{}` 属于哪个节点：{+}
    the node at `{}` is refused: {} => 拒绝连接位于 `{}` 的节点：{+}
    its certificate is not of the authority in the profile => 其证书不是由个人配置文件中的证书机构签发
    it is no node of the agency in the profile => 不是个人配置文件所属机构的节点
    the node at `{}` refused this certificate: {} => 位于 `{}` 的节点拒绝了此证书：{+}
    it is revoked => 已被吊销
    it is expired => 已过期
    it is unknown => 无此证书
    its authority counts for nothing there, or has no list there that counts => 该节点不认其证书机构，或没有该机构有效的吊销列表
    compare the line `cert` of the profile with the newest certificate that you got, or ask your agency for one => 请将个人配置文件中的 `cert` 一行与最近领到的证书核对，或向本机构申领新证书
    compare the line `{}` of the profile with what your agency's operator gave you => 请将个人配置文件中的 `{}` 一行与本机构运维员提供的核对
    {}: {} of {} held; which are missing is not shown to you => {}：已有 {} 件，应有 {} 件；缺少哪些不向您显示
    ask the node's operator, who is shown it => 请询问节点运维员，其可查看
    --timeout takes at most {} seconds => --timeout 最多 {} 秒
    what was accepted goes on by itself; ask again later => 已受理的会自动继续；请稍后再查
    `{}` holds no text => `{}` 中没有文字
    give a file with the text => 请指定有正文的文件
    `{}` is not UTF-8 text: the first wrong byte is at offset {} => `{}` 不是 UTF-8 文本：首个错误字节位于偏移 {}
    not UTF-8 text: the first wrong byte is at offset {} => 不是 UTF-8 文本：首个错误字节位于偏移 {}
    convert it to UTF-8, e.g. from GB18030 => 请转换为 UTF-8，例如从 GB18030
    `{}` is in the directory already => 人员名录中已有 `{}`
    a name is given once, and stays with whoever was suspended: use another, e.g. `{}-2` => 名称只用一次，停用后也不再分配：请另取名称，例如 `{}-2`
    `{}` signs acts; its key stands on the ledger => `{}` 有签署职权，其密钥登记在账本上
    suspend the person and enter the same one under another name, e.g. `{}-2`; two officers sign that => 请先停用此人，再以另一名称（例如 `{}-2`）重新登记，由两名保密员先后签署
    use it for exercises and fictitious data only => 只可用于演练和虚构数据
    look at the disk with df => 请用 df 检查磁盘
    {} MiB in this machine or group; a node takes in content up to three quarters of its own => 本机或本组有 {} MiB 内存；节点用到其中四分之三时不再接收内容
    content is taken in up to {} MiB of the {} here => 用到 {} MiB 时不再接收内容（本机有 {} MiB）
    the memory is bounded at {} MiB, and there are {} here => 内存上限设为 {} MiB，而本机只有 {} MiB
    lower `load.memory_mib`: a process that needs more than there is gets ended => 请调低 `load.memory_mib`：超出实有内存的进程会被系统终止
    see {} => 见 {}
    there is no record that you may open => 没有您可查阅的情报
    publish some, or add --agreement ID => 请先发布，或加 --agreement 编号
    `{}` is not FROM-TO => `{}` 不是“下限-上限”的形式
    e.g. 300-600, at most {} => 例如 300-600，最多 {}
    use {} => 可用：{}";

/// What the system and the command line's parser say, what is said here, and what is put together from parts; looked at
/// first.
pub(super) const FOREIGN: &str = "
    correct it and try again; see `--help` => 请改正后重试；用法见 `--help`
    check the id, or ask whoever gave it to you => 请核对编号，或询问提供编号的人
    try again later; `hufu doctor` says what is wrong => 请稍后重试；`hufu doctor` 可查明原因
    do not use it; keep it as it is and tell your agency's security officer and operator => 请勿使用；请保持原状并报告本机构保密员和运维员
    look again and repeat => 请重新查看后再试
    repeat only what is left => 只需重做未完成的部分
    this is a bug: report it with what you did => 这是程序缺陷，请连同所做操作一并报告
    use zh or en => 请用 zh 或 en
    .md or .txt => .md 或 .txt
    `{}` is not a record id => `{}` 不是情报编号
    `{}` is not a notice id => `{}` 不是通报编号
    No such file or directory (os error 2) => 没有这个文件或目录
    Permission denied (os error 13) => 没有权限
    Not a directory (os error 20) => 不是目录
    Is a directory (os error 21) => 是目录，不是文件
    No space left on device (os error 28) => 磁盘已满
    {} is not in {}..={} => {} 不在 {} 至 {} 范围内
    invalid digit found in string => 不是整数
    cannot parse integer from empty string => 没有数值
    number too large to fit in target type => 数值过大";
