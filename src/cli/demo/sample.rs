//! The sample: a fictitious exercise, marked 演练, published through the same calls that anybody would use.

use super::files::Plan;
use crate::cli::client::{Client, fault};
use crate::domain::fault::Fault;
use crate::wire::pb::v1;
use std::time::Duration;

struct Sample {
    agency: &'static str,
    agreement: &'static str,
    grade: &'static str,
    compartments: &'static [&'static str],
    references: &'static [&'static str],
    title: &'static str,
    body: &'static str,
}

const SAMPLES: &[Sample] = &[
    Sample {
        agency: "police",
        agreement: "border-2026",
        grade: "secret",
        compartments: &[],
        references: &["plate:演A00001", "phone:13800000000"],
        title: "【演练】口岸可疑车辆通报",
        body: "演练：虚构车辆演A00001三日内两次夜间经三号口岸出入，登记电话13800000000。请海关核对申报，请国安核对联系人。",
    },
    Sample {
        agency: "customs",
        agreement: "border-2026",
        grade: "secret",
        compartments: &["border-ops"],
        references: &["plate:演A00001"],
        title: "【演练】三号口岸申报核对",
        body: "演练：车辆演A00001申报货物为机电零件，过磅重量与申报不符。已列入布控，名单见口岸专项。",
    },
    Sample {
        agency: "state-security",
        agreement: "border-2026",
        grade: "confidential",
        compartments: &[],
        references: &["phone:13800000000"],
        title: "【演练】联系人背景摘要",
        body: "演练：电话13800000000的登记人系虚构人物甲，近期与境外虚构机构乙有联系，可信度待评估。",
    },
    Sample {
        agency: "police",
        agreement: "common-2026",
        grade: "internal",
        compartments: &[],
        references: &[],
        title: "【演练】演练安排",
        body: "演练：本周三上午九时开始口岸联合执法桌面推演，各单位值班员参加。全部人物、车辆、号码均为虚构。",
    },
];

/// Publishes the sample. Its sources name it, so doing it again changes nothing.
pub(super) async fn publish(plan: &Plan) -> Result<(), Fault> {
    for (n, s) in SAMPLES.iter().enumerate() {
        let client = Client::with(&plan.profile(s.agency, "analyst"), Duration::from_secs(30)).await?;
        let texts = |all: &[&str]| all.iter().map(|t| (*t).to_owned()).collect();
        let request = v1::PublishRequest {
            title: s.title.into(),
            body: s.body.into(),
            grade: s.grade.into(),
            compartments: texts(s.compartments),
            agreement: s.agreement.into(),
            references: texts(s.references),
            kind: "report".into(),
            wait: "all".into(),
            wait_ms: 5000,
            timeout_ms: client.timeout_ms(),
            request_id: vec![0; 16],
            source: format!("sample:{n}"),
            ..v1::PublishRequest::default()
        };
        client.records().publish(request).await.map_err(fault)?;
    }
    Ok(())
}
