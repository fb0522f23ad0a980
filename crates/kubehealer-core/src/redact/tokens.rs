//! Tokens that are known by what they begin with: the prefix is the proof, so no name is needed in front.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::{HOLE, mixed};

/// What the rest of a token is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Of {
    /// Hexadecimal digits.
    Hex,
    /// Letters and digits.
    Alnum,
    /// Letters, digits, `_` and `-`.
    Word,
    /// The same with `.`, `=`, `+`, `/` and `%`.
    Any,
}

impl Of {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Word => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Any => byte.is_ascii_alphanumeric() || b"_-.=+/%".contains(&byte),
        }
    }
}

/// What a token begins with, how long its rest is at least, and what that is made of. The prefixes that end in a letter or
/// that words begin with, too, are in [`UNSURE`].
pub(super) const SURE: &[(&str, usize, Of)] = &[
    // Amazon, Google, Microsoft, and other clouds.
    ("AKIA", 12, Of::Alnum),
    ("ASIA", 12, Of::Alnum),
    ("ABIA", 12, Of::Alnum),
    ("ACCA", 12, Of::Alnum),
    ("k8s-aws-v1.", 10, Of::Any),
    ("ABSK", 40, Of::Any),
    ("bedrock-api-key-", 20, Of::Any),
    ("AIza", 30, Of::Word),
    ("ya29.", 10, Of::Any),
    ("GOCSPX-", 10, Of::Word),
    ("1//0", 30, Of::Word),
    ("LTAI", 12, Of::Alnum),
    ("AKID", 24, Of::Alnum),
    ("AQVN", 30, Of::Word),
    ("YCAJ", 20, Of::Word),
    ("YCM", 30, Of::Word),
    ("YCP", 30, Of::Word),
    ("t1.9eu", 20, Of::Any),
    ("y0_", 30, Of::Word),
    ("dop_v1_", 16, Of::Hex),
    ("doo_v1_", 16, Of::Hex),
    ("dor_v1_", 16, Of::Hex),
    ("ocid1.credential.", 10, Of::Any),
    ("HRKU-", 20, Of::Word),
    ("fo1_", 30, Of::Word),
    ("fm1r_", 30, Of::Any),
    ("fm1a_", 30, Of::Any),
    ("fm2_", 30, Of::Any),
    ("nfp_", 20, Of::Alnum),
    ("nfc_", 20, Of::Alnum),
    ("nfo_", 20, Of::Alnum),
    ("nfb_", 20, Of::Alnum),
    ("nfu_", 20, Of::Alnum),
    ("vcp_", 20, Of::Alnum),
    ("vck_", 20, Of::Alnum),
    ("vca_", 20, Of::Alnum),
    ("vci_", 20, Of::Alnum),
    ("vcr_", 20, Of::Alnum),
    ("rnd_", 24, Of::Alnum),
    ("tk-us-", 30, Of::Word),
    ("napi_", 30, Of::Word),
    ("npg_", 10, Of::Alnum),
    ("sbp_", 20, Of::Alnum),
    ("sb_secret_", 20, Of::Word),
    ("pscale_tkn_", 16, Of::Any),
    ("pscale_oauth_", 16, Of::Any),
    ("pscale_pw_", 16, Of::Any),
    ("cfut_", 20, Of::Word),
    ("v1.0-", 60, Of::Word),
    ("AVNS_", 12, Of::Word),
    ("aivenv1", 30, Of::Any),
    ("cr_live_", 20, Of::Word),
    // Code hosts and registries.
    ("ghp_", 20, Of::Alnum),
    ("gho_", 20, Of::Alnum),
    ("ghu_", 20, Of::Alnum),
    ("ghs_", 20, Of::Alnum),
    ("ghr_", 20, Of::Alnum),
    ("github_pat_", 20, Of::Word),
    ("glpat-", 10, Of::Any),
    ("glrt-", 10, Of::Any),
    ("gldt-", 10, Of::Word),
    ("glptt-", 10, Of::Word),
    ("glcbt-", 10, Of::Word),
    ("glft-", 10, Of::Word),
    ("glimt-", 10, Of::Word),
    ("glagent-", 10, Of::Word),
    ("glsoat-", 10, Of::Word),
    ("glffct-", 10, Of::Word),
    ("gloas-", 10, Of::Word),
    ("glwt-", 10, Of::Word),
    ("GR1348941", 16, Of::Word),
    ("ATBB", 20, Of::Alnum),
    ("ATCTT3", 16, Of::Any),
    ("ATATT3", 16, Of::Any),
    ("ATSTT3", 16, Of::Any),
    ("npm_", 20, Of::Alnum),
    ("pypi-", 20, Of::Word),
    ("rubygems_", 20, Of::Hex),
    ("CLOJARS_", 30, Of::Alnum),
    ("dckr_pat_", 10, Of::Word),
    ("dckr_oat_", 10, Of::Word),
    ("AKCp", 40, Of::Alnum),
    ("sgp_", 20, Of::Word),
    ("sgd_", 20, Of::Word),
    ("jfrt@", 16, Of::Any),
    ("API-", 20, Of::Alnum),
    ("bkua_", 20, Of::Alnum),
    ("bkat_", 20, Of::Alnum),
    ("bkaj_", 20, Of::Any),
    ("CCIPAT_", 20, Of::Word),
    ("CCIPRJ_", 20, Of::Word),
    ("squ_", 20, Of::Alnum),
    ("sqp_", 20, Of::Alnum),
    ("sqa_", 20, Of::Alnum),
    ("gitea_", 30, Of::Hex),
    ("dt0c01.", 16, Of::Any),
    ("dt0s01.", 16, Of::Any),
    ("dt0s16.", 16, Of::Any),
    ("hpat_", 20, Of::Alnum),
    ("mdb_sa_sk_", 20, Of::Word),
    // Messaging and mail.
    ("xoxa-", 8, Of::Word),
    ("xoxb-", 8, Of::Word),
    ("xoxc-", 8, Of::Word),
    ("xoxd-", 8, Of::Any),
    ("xoxe-", 8, Of::Word),
    ("xoxe.", 8, Of::Any),
    ("xoxo-", 8, Of::Word),
    ("xoxp-", 8, Of::Word),
    ("xoxr-", 8, Of::Word),
    ("xoxs-", 8, Of::Word),
    ("xapp-", 8, Of::Word),
    ("SG.", 20, Of::Any),
    ("xkeysib-", 20, Of::Word),
    ("xsmtpsib-", 20, Of::Word),
    ("key-", 32, Of::Hex),
    ("mlsn.", 20, Of::Alnum),
    ("pmtk_", 20, Of::Word),
    ("sl.", 40, Of::Word),
    ("sl.B", 30, Of::Word),
    ("sl.u.", 30, Of::Word),
    // Money.
    ("sk_live_", 8, Of::Alnum),
    ("sk_test_", 8, Of::Alnum),
    ("rk_live_", 8, Of::Alnum),
    ("rk_test_", 8, Of::Alnum),
    ("rk_prod_", 8, Of::Alnum),
    ("sk_prod_", 8, Of::Alnum),
    ("whsec_", 8, Of::Any),
    ("sq0atp-", 16, Of::Word),
    ("sq0csp-", 16, Of::Word),
    ("sq0idp-", 16, Of::Word),
    ("EAAA", 40, Of::Word),
    ("access-sandbox-", 16, Of::Word),
    ("access-development-", 16, Of::Word),
    ("access-production-", 16, Of::Word),
    ("FLWSECK_TEST-", 10, Of::Word),
    ("FLWSECK-", 10, Of::Word),
    ("A21AA", 40, Of::Word),
    ("live_pk_", 16, Of::Word),
    ("cko_", 20, Of::Word),
    ("shippo_live_", 16, Of::Hex),
    ("shippo_test_", 16, Of::Hex),
    ("EZAK", 40, Of::Alnum),
    ("EZTK", 40, Of::Alnum),
    ("duffel_live_", 20, Of::Any),
    ("duffel_test_", 20, Of::Any),
    ("shpat_", 16, Of::Hex),
    ("shpss_", 16, Of::Hex),
    ("shpca_", 16, Of::Hex),
    ("shppa_", 16, Of::Hex),
    ("rzp_live_", 10, Of::Alnum),
    ("rzp_test_", 10, Of::Alnum),
    // Watching and operating.
    ("glsa_", 16, Of::Word),
    ("glc_", 16, Of::Any),
    ("NRAK-", 16, Of::Alnum),
    ("NRII-", 16, Of::Word),
    ("NRJS-", 12, Of::Alnum),
    ("NRAA-", 16, Of::Alnum),
    ("NRRA-", 16, Of::Alnum),
    ("NRSP-", 16, Of::Word),
    ("sntrys_", 16, Of::Any),
    ("sntryu_", 16, Of::Hex),
    ("sntrya_", 16, Of::Hex),
    ("ddapi_", 16, Of::Alnum),
    ("hcaik_", 20, Of::Alnum),
    ("hcaic_", 20, Of::Alnum),
    ("hvs.", 10, Of::Word),
    ("hvb.", 10, Of::Word),
    ("hvr.", 10, Of::Word),
    ("pul-", 20, Of::Hex),
    ("dp.pt.", 16, Of::Alnum),
    ("dp.st.", 16, Of::Any),
    ("dp.ct.", 16, Of::Alnum),
    ("dp.sa.", 16, Of::Alnum),
    ("dp.scim.", 16, Of::Alnum),
    ("dp.audit.", 16, Of::Alnum),
    ("ops_eyJ", 20, Of::Any),
    ("A3-", 26, Of::Word),
    ("dapi", 32, Of::Hex),
    ("dose", 32, Of::Hex),
    ("AGE-SECRET-KEY-1", 10, Of::Alnum),
    ("AGE-PLUGIN-", 20, Of::Word),
    ("PMAK-", 20, Of::Word),
    ("PMAT-", 20, Of::Word),
    ("pnu_", 20, Of::Alnum),
    ("pnb_", 20, Of::Alnum),
    ("ico-", 24, Of::Alnum),
    ("tskey-", 12, Of::Word),
    ("sdp_", 20, Of::Alnum),
    ("rdme_", 20, Of::Alnum),
    ("tfp_", 30, Of::Any),
    ("sm_aat_", 12, Of::Alnum),
    ("sm_pat_", 12, Of::Alnum),
    ("sm_sat_", 12, Of::Alnum),
    ("sha256~", 30, Of::Word),
    ("infp_", 20, Of::Alnum),
    ("snyk_", 20, Of::Any),
    ("snyk_uat.", 20, Of::Any),
    ("hsp_", 20, Of::Word),
    ("bws.", 12, Of::Any),
    ("SSWS ", 20, Of::Word),
    ("jvb_", 20, Of::Word),
    ("p8e-", 24, Of::Alnum),
    ("phc_", 30, Of::Alnum),
    ("phx_", 30, Of::Alnum),
    ("sdk-", 36, Of::Word),
    ("mob-", 36, Of::Word),
    ("ctp_", 20, Of::Word),
    ("lip_", 20, Of::Any),
    ("tvly-", 20, Of::Word),
    ("E2B_", 20, Of::Alnum),
    ("e2b_", 30, Of::Hex),
    // Language models, notes, and all the rest.
    ("sk-proj-", 16, Of::Word),
    ("sk-svcacct-", 16, Of::Word),
    ("sk-admin-", 16, Of::Word),
    ("sk-ant-", 16, Of::Word),
    ("sk-or-", 16, Of::Word),
    ("sk-lf-", 16, Of::Word),
    ("sess-", 30, Of::Alnum),
    ("hf_", 20, Of::Alnum),
    ("api_org_", 20, Of::Alnum),
    ("gsk_", 30, Of::Alnum),
    ("pplx-", 30, Of::Alnum),
    ("r8_", 30, Of::Alnum),
    ("nvapi-", 30, Of::Word),
    ("xai-", 40, Of::Alnum),
    ("lsv2_pt_", 20, Of::Word),
    ("lsv2_sk_", 20, Of::Word),
    ("pcsk_", 30, Of::Word),
    ("jina_", 30, Of::Word),
    ("csk-", 30, Of::Alnum),
    ("wandb_v1_", 20, Of::Word),
    ("cpk_", 30, Of::Any),
    ("lin_api_", 20, Of::Alnum),
    ("lin_oauth_", 20, Of::Alnum),
    ("ntn_", 30, Of::Alnum),
    ("secret_", 36, Of::Alnum),
    ("figd_", 20, Of::Word),
    ("figo_", 20, Of::Word),
    ("pk.eyJ", 30, Of::Any),
    ("sk.eyJ", 30, Of::Any),
    ("fio-u-", 30, Of::Any),
    ("EAAC", 60, Of::Alnum),
    ("EAACEdEose0cBA", 8, Of::Alnum),
    ("EAAM", 60, Of::Alnum),
    ("EAAG", 60, Of::Alnum),
    ("EAAB", 60, Of::Alnum),
    ("IGQ", 60, Of::Word),
    ("AAAAAAAAAAAAAAAAAAAAA", 30, Of::Any),
    ("oauth:", 28, Of::Alnum),
    ("pat-na1-", 20, Of::Word),
    ("pat-eu1-", 20, Of::Word),
    ("CFPAT-", 30, Of::Word),
    ("ctfpat-", 20, Of::Word),
    ("s-s4t2ud-", 20, Of::Hex),
    ("s-s4t2af-", 20, Of::Hex),
    ("uk1_", 30, Of::Word),
    ("live_pub_", 24, Of::Hex),
    ("test_pub_", 24, Of::Hex),
    ("aio_", 24, Of::Alnum),
    ("patpat_", 30, Of::Any),
    ("zpka_", 20, Of::Word),
    ("zapi_", 30, Of::Alnum),
    ("apify_api_", 20, Of::Alnum),
    ("trunk_", 40, Of::Hex),
    ("b_live_", 20, Of::Word),
    ("SWMTKN-1-", 20, Of::Word),
    ("kubeconfig-user-", 60, Of::Any),
    ("rke2::", 20, Of::Any),
    ("wg0_", 40, Of::Any),
];

/// Prefixes that words, names of objects and ids may have, too: the rest must look random.
pub(super) const UNSURE: &[(&str, usize, Of)] = &[
    ("sk-", 20, Of::Word),
    ("sk-", 32, Of::Hex),
    ("sk_", 24, Of::Word),
    ("pk_", 24, Of::Word),
    ("SK", 32, Of::Hex),
    ("AC", 32, Of::Hex),
    ("s.", 24, Of::Alnum),
    ("b.AAAAAQ", 30, Of::Word),
    ("cio", 32, Of::Alnum),
    ("oy2", 40, Of::Alnum),
    ("kg_", 40, Of::Any),
    ("AQE", 60, Of::Any),
    ("AQX", 60, Of::Word),
    ("AQU", 60, Of::Word),
    ("MTk", 50, Of::Any),
    ("re_", 24, Of::Word),
    ("fw_", 24, Of::Alnum),
    ("4b1d", 38, Of::Alnum),
    ("cmVmd", 40, Of::Alnum),
    ("st.", 60, Of::Any),
    ("pat.", 50, Of::Any),
    ("sat.", 50, Of::Any),
    ("MTA", 50, Of::Any),
    ("OT", 50, Of::Any),
    ("Nz", 50, Of::Any),
    ("00", 38, Of::Word),
    ("EAA", 40, Of::Word),
    ("live_", 24, Of::Any),
    ("b_", 40, Of::Any),
];

static PREFIXES: LazyLock<AhoCorasick> = LazyLock::new(|| automaton(all().map(|(prefix, ..)| prefix)));

fn all() -> impl Iterator<Item = (&'static str, usize, Of)> {
    SURE.iter().chain(UNSURE).copied()
}

/// What a text must hold for [`hide`] to find something.
pub(super) fn hints() -> impl Iterator<Item = &'static str> {
    all().map(|(prefix, ..)| prefix)
}

#[expect(clippy::expect_used, reason = "the words are constants, and the tests build each table")]
pub(super) fn automaton<'w>(words: impl Iterator<Item = &'w str>) -> AhoCorasick {
    AhoCorasick::new(words).expect("a table of redact does not build")
}

/// Hides tokens; `None` where there is none.
pub(super) fn hide(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let mut copied = 0;
    for found in PREFIXES.find_overlapping_iter(text) {
        let (start, end) = (found.start(), found.end());
        let before = start.checked_sub(1).and_then(|at| bytes.get(at)).copied().unwrap_or(b' ');
        if start < copied
            || before.is_ascii_alphanumeric()
            || before == b'_' && !text.get(..start)?.ends_with("__")
        {
            continue;
        }
        let index = found.pattern().as_usize();
        let Some((_, min, of)) = all().nth(index) else { continue };
        let rest = bytes.get(end..).unwrap_or_default();
        let length = rest.iter().position(|byte| !of.has(*byte)).unwrap_or(rest.len());
        let value = text.get(end..end + length)?;
        let value = value.trim_end_matches(['.', '-']);
        if value.len() < min {
            continue;
        }
        let unsure = index >= SURE.len();
        let digits = value.bytes().filter(u8::is_ascii_digit).count();
        if unsure && !(mixed(value) || (of == Of::Hex && digits >= 6))
            || !unsure && of == Of::Word && is_name(value)
        {
            continue;
        }
        out.push_str(text.get(copied..start)?);
        out.push(HOLE);
        copied = end + value.len();
    }
    if copied == 0 {
        return None;
    }
    out.push_str(text.get(copied..)?);
    Some(out)
}

/// Words joined by hyphens, as objects are named: `api-gateway-for-the-internal-network-7d9f8b6c5-x2x`.
fn is_name(value: &str) -> bool {
    let parts = value.split('-');
    parts.clone().count() >= 3
        && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && parts.filter(|part| part.bytes().any(|b| b.is_ascii_digit())).all(|part| part.len() <= 10)
}
