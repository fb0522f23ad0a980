//! Which record of a log explains why the container terminated.
//!
//! Each record is a candidate; level, stack, rule and place give it points. What explains nothing (wrappers, shutdown
//! progress, advice, usage) loses them, and so does what normal progress followed.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex_automata::meta::Regex;

use super::formats::Level;
use super::matcher::{Found, MATCHER};
use super::record::Record;
use super::rule::test;
use super::thrown;

/// The record that explains the end.
#[derive(Debug)]
pub(super) struct Choice {
    /// Its place among the records.
    pub record: usize,
    /// The rule that knows it.
    pub found: Option<Found>,
    /// It was logged as an error or worse, or reads like one.
    pub error: bool,
    /// The program was in no doubt: fatal, uncaught, or said again and again.
    pub strong: bool,
}

/// The most that a record can score.
const BEST: i32 = 160;

/// What a record does for the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// It may be the cause.
    Candidate,
    /// It says that something failed, and not why.
    Hollow,
    /// It comes after the cause and says nothing of it: frames, advice, usage.
    Noise,
    /// The program goes down, in order.
    Shutdown,
    /// The program goes on.
    Progress,
}

/// Wrappers, and words that only say that it ended.
static HOLLOW: LazyLock<Regex> = LazyLock::new(|| {
    test(concat!(
        r"(?:see|check|refer to) (?:the )?(?:root )?(?:cause |error |errors |log |logs |message |output |details )*(?:above|below)|root cause above|(?:see|check) the logs? at ",
        r"|failed to load all |\ball (?:specified |configured )?[\w ]{1,30} have failed(?: to \w+)?\.?$|timed out waiting for the condition|died while starting up|did not exit normally",
        r"|^initiali[sz]ation (?:issues?|problems?|errors?|failures?)(?: (?:during|in|of) [\w-]+)?[.!]*$",
        r"|^={3,} [^=\n]{1,80} ={3,}$|^\(forcing sigsegv |^\*{3} ?(?:program crashed: |caught signal \()|^-{3,} ?(?:begin|end) dump of |^-{3} (?:logging levels|pthread id)",
        r"|^exception during \w+[:.!]*$|^(?:[\w-]+ ){0,3}(?:exited|terminated|stopped|died) unexpectedly[.!]*$|\*\*\* ?aborting after|cannot be respawned|^\{?\x22?kernel pid terminated",
        r"|^(?:shutting|going|winding) down(?: [\w-]+){0,3}[.!]*$|^stopping(?: [\w-]+){1,3}[.!]*$",
        r"|(?:contains? errors?,? )?(?:aborting|exiting|giving up|terminating|quitting)(?: now| abnormally| the (?:process|program))?\s*[.!]*$",
        r"|^(?:application run failed|(?:application|server|service|daemon|program|main|boot|startup|start-up|process|app|container|setup|initiali[sz]ation|execution|command|deployment|migration|job|task|build|script|error|run|install|upgrade)(?: \w+)? (?:has )?failed(?: to (?:start|run|initiali[sz]e|execute|boot|load))?(?: with error)?)[.!]*$",
        r"|^(?:failed|unable|could not|cannot|can't) to (?:start|run|boot|initiali[sz]e|launch|create|execute)(?: the| a)? (?:[\w-]+ ){0,2}[\w-]+(?: in \(?\w+\)? mode)?[.!]*$",
        r"|^(?:unexpected|unhandled|uncaught|fatal|an|a|some) ?(?:unexpected |unhandled |fatal |internal )?(?:error|exception|errors)(?: (?:has |have )?(?:occurred|happened|caught|encountered))?(?: (?:while|during) (?:booting|starting|startup|start-up|boot)[\w ]*)?(?:, exiting[\w ]*)?[.!:]*$",
        r"|^(?:the )?(?:error|errors|following errors?|reason)(?: (?:was|were|is|are))?[:.]*$|^(?:core dumped|aborted(?: \(core dumped\))?)$",
        r"|^(?:problem running manager|error running (?:manager|command)|proxy or operator exited with error\.?|command failed)$",
        r"|^(?:\w+ ){0,4}(?:failed|timed out|could not|unable to|cannot) (?:to )?wait(?:ing)? for [^\n]{0,80}caches? to (?:be )?sync(?:ed)?|timed out waiting for caches? to (?:be )?sync",
        r"|root cause \(first observed failure\)|^the following diagnostic information is available|encountered a fatal error and cannot continue|^failures?:|failed \(exitcode: -?\d+\)",
        r"|^(?:reason: )?(?:[\w-]+ ){1,3}failed to (?:start|boot|initiali[sz]e|load)[.!]*$|^http: server closed$|^crasher: initial call|^(?:[\w ]+: )?\{error,failed_to_\w+\}$",
        r"|could not create the java virtual machine|a fatal exception has occurred|configuration file \S+ contains errors$|^\S+ failed$|error occurred during initialization of vm$|boot failed$",
        r"|^failed (?:running|executing) [\x22'`]?[\w-]+[\x22'`]?\.?$|\bsee (?:the )?(?:previous|preceding|earlier) (?:messages?|errors?|logs?|lines?|output)|^ray::[\w.]+\(\) \(pid=\d+|^cannot print extra info for|^fatal python error: aborted$|^\(systemexit\) exit$|terminated with exit code|^error command failed|exited too early|^shutting down due to",
    ))
});

/// The same, for a text that ends in a number: apart from the others, since how far each of its gaps has come multiplies
/// with all that they may be in the middle of.
static STATUS: LazyLock<Regex> = LazyLock::new(|| {
    test(concat!(
        r"\bfailed(?::| [^t\n:][^\n]{0,38})? (?:with |status |code |exit )+(?:code |status )?:?=?\(?-?\d+\)?\.?$",
        r"|\b(?:exit(?:ed|ing)?|finished|terminated|returned|ended|completed|stopped|jvm)\b[^\n]{0,40} (?:with |status |code |exit )+(?:code |status )?:?=?\(?-?\d+\)?\.?$",
        r"|^(?:[\w ./'-]{0,60}:? )?(?:exit status|exit code|status code|code|status)[ :=]+\d+\.?$",
    ))
});

/// Advice, links and the epilogues of runtimes and package managers.
static ADVICE: LazyLock<Regex> = LazyLock::new(|| {
    test(concat!(
        r"^(?:for (?:more|further|additional|full) (?:details|information|help)|\d+[.)] (?-i:[A-Z]\w+ing)\b|see (?:also )?(?:https?://|the doc|'|`)|please (?:see|visit|refer|report|file|open|submit|consult|read|check)|visit |learn more|more info|you can (?:check|learn|find|also)",
        r"|try ['`\x22]|run (?:with|`|')|use ['`\x22]?\S+ (?:-h|--help)|(?:[\w.-]+: )?use [`'\x22]|exit trace for group:|[\w.-]+ exited with nil$|hint\b|tip:|note:|info:|if (?:you|this|the problem|it) |this (?:is|may be|might be|could be|error) (?:probably|likely|usually|normally|a bug|often)|thank you|thanks for",
        r"|usage\b|options:|flags:|global flags|commands:|available (?:sub)?commands|examples?:|aliases:|arguments:|positional arguments|action:|documentation:",
        r"|a complete log of this run|npm (?:err!?|error|notice|warn)\s*(?:$|code|errno|syscall|path|dest|a complete|this is|there is|failed at|exit status|command|lifecycle|node |npm |cwd|at |    |\w+@|workspace|location|log files were not|you can rerun|/)|info visit|error command failed with exit code|node\.js v\d",
        r"|(?:an? )?(?:error|crash|core|heap|hs_err)[\w ]* (?:report|dump)?(?: ?file)?[\w ]* (?:is |was |has been )?(?:saved|written|generated)|if you would like to submit a bug|core dump(?:s)? (?:will|may)|\[error occurred during)",
        r"|(?:please )?(?:report|file) (?:this|a|an) (?:bug|issue|problem)|bug[ -]report|issue tracker|give (?:us )?feedback|join (?:us|our)|github\.com/[^\s]+/issues|^\s*https?://\S+$|prerequisites at: ?http|learn how to",
        r"|set (?:the )?(?:rust_backtrace|\S+_debug)|rust_backtrace|--verbose' option|--stacktrace|--help' (?:for|to)",
    ))
});

/// The program goes down, in order, for a reason that was given before.
static SHUTDOWN: LazyLock<Regex> = LazyLock::new(|| {
    test(concat!(
        r"\b(?:shut(?:ting)?[ -]?down|shutdown|stopp(?:ing|ed)|clos(?:ing|ed)|good ?bye|bye|exiting|exited|terminat(?:ing|ed)|graceful(?:ly)?|drain(?:ing|ed)|",
        r"clean(?:ing|ed)?[ -]?up|unmount(?:ing|ed)?|stepping down|all workers finished|received (?:signal|sig\w+)|signal received|destroy(?:ing|ed)|unregister(?:ing|ed)|deregister(?:ing|ed)|disconnect(?:ing|ed)|releas(?:ing|ed)|leaving|",
        r"handling signal|cancel(?:ing|led|ed)|context canceled|interrupted|flush(?:ing|ed)?|removing pid|halt(?:ing|ed)|quitting|wait completed|waiting for .{0,40} to (?:finish|stop|exit|end|terminate)|going to close|marking .{0,40} as down)\b|^now exiting",
    ))
});

/// The program goes on: what was wrong before did not stop it.
static PROGRESS: LazyLock<Regex> = LazyLock::new(|| {
    test(concat!(
        r"\b(?:(?:successfully|now) (?:\w+ )?(?:connected|started|initiali[sz]ed|loaded|synced|registered|joined)|(?:server|service|application|app|worker|manager|listener|controller|process|node|broker|database|daemon)s? (?:\w+ )?(?:is |are )?(?:started|running|ready|up|listening|online|healthy)|",
        r"started (?:in|with pid|server|successfully|on|at|application)|listening (?:on|at|for)|ready (?:to|for) |is ready\b|serving (?:on|at|http|metrics|requests)|connected to|connection (?:established|restored|succeeded)|reconnected|recovered|accepting connections|",
        r"spawned: |up and running|startup complete|succeeded|bound to|became leader|became (?:primary|master)|acquired (?:the )?lease|caches? (?:are )?synced|handling request|http/1\.[01]\x22 (?:2|3|4)\d\d)",
    ))
});

/// What failed before works now.
static RECOVERY: LazyLock<Regex> = LazyLock::new(|| {
    test(
        r"\b(?:(?:re)?connected|connection (?:\w+ ){0,2}(?:established|restored|succeeded|ok)|succeeded|succeeds|recovered|restored|available again|joined|resolved|after (?:\d+ )?retr(?:y|ies))\b",
    )
});

/// What a process logs of an exception that nobody caught.
static UNCAUGHT: LazyLock<Regex> = LazyLock::new(|| {
    test(
        r"^(?:(?:unhandled|uncaught|unexpected|fatal) )?(?:exception|error) (?:in|on) (?:[\w-]+ ){0,3}(?:process|thread|worker|main|startup|lifespan)\b",
    )
});

/// With so many lines of that sort an error is compared.
const MAX_RECOVERIES: usize = 12;

/// Whether a later line tells of the same thing as an error: they share a name.
fn same_matter(error: &str, later: &str) -> bool {
    const COMMON: [&str; 20] = [
        "connect", "retr", "fail", "error", "server", "client", "service", "succe", "attempt", "after",
        "with", "from", "database", "host", "port", "address", "this", "that", "level", "tcp",
    ];
    let names = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_alphanumeric() && !"-_.".contains(c));
        let words = words.map(|word| word.trim_matches('.').to_ascii_lowercase());
        let telling = |word: &String| {
            word.len() > 3
                && word.contains(|c: char| c.is_alphabetic())
                && !COMMON.iter().any(|common| word.starts_with(common))
        };
        words.filter(telling).take(40).collect()
    };
    let later = names(later);
    names(error).iter().any(|name| later.contains(name))
}

/// Words of an error, where no level says it.
static ERROR: LazyLock<Regex> = LazyLock::new(|| {
    test(concat!(
        r"\b(?:errors?|fail(?:ed|s|ure|ures|ing)?|cannot|can't|can ?not|could not|couldn't|unable|invalid|missing|not found|no such|denied|refus(?:ed|es|ing)|exhausted|unauthorized|forbidden|unknown|unsupported|unrecogni[sz]ed|undefined|unexpected|",
        r"not (?:set|defined|permitted|allowed|supported|valid|exist|compatible|specified|available|writable|readable|a )|isn't|wasn't|does not|doesn't|did not|didn't|must|required|requires|exceptions?|panic|abort(?:ed)?|fatal|killed|exited [1-9]\d*|timed? ?out|timeout|expired|exceed(?:ed|s)|",
        r"corrupt(?:ed|ion)?|mismatch|incompatible|conflicts?|too (?:many|large|small|old|long|low|big|high)|no space|out of|insufficient|bad|illegal|broken|lost|crash(?:ed)?|fault|violation|no (?:[\w/-]+ ){1,5}(?:found|configured|provided|specified|available|address)|newer|older|read-only|already)\b|\w+_(?:failure|error|timeout)\w*|timeout_\w+|(?-i:\b(?:E[A-Z]{4,}|\w+(?:Error|Exception))\b)",
    ))
});

/// The program goes on in spite of it by its own words, or complains of somebody else.
static BORNE: LazyLock<Regex> = LazyLock::new(|| {
    test(concat!(
        r"\.py:\d+: \w*Warning: |\b(?:using (?:the |a )?(?:built-in |ephemeral |in-memory )?defaults?|default(?:s|ing)? to|fall(?:ing|s)? ?back|ignor(?:ed|ing)|skipp(?:ed|ing)|continuing|non-fatal|deprecat\w+|(?:will be )?removed in|will (?:be )?(?:retry|retried|try again)|retrying|next attempt|trying again|",
        r"previous error|tls handshake error from|(?:is going to|will) be (?:used|applied|assumed)|for safety reasons|(?:not|never) (?:\w+ ){0,4}(?:in|for) (?:a |any )?production|future versions?|in (?:a|the) future|not recommended)|(?:[,;.:-] ?|\b(?:so|and|then|instead) )(?:using|setting it to) ",
    ))
});

/// Work of a program that goes down already.
static CLEANUP: LazyLock<Regex> = LazyLock::new(|| {
    test(concat!(
        r"^(?:[\w.-]+: )?(?:error|failed|failure|unable|could not|cannot|can't) ?(?:to |while |when |during |in )?(?:gracefully |cleanly )?(?:clos(?:e|ing)|flush(?:ing)?|shut(?:ting)? ?down|stop(?:ping)?|de-?register(?:ing)?|unregister(?:ing)?|disconnect(?:ing)?|",
        r"releas(?:e|ing)|clean(?:ing)?[ -]?up|drain(?:ing)?|unsubscrib(?:e|ing)|send(?:ing)? (?:final|last|remaining))\b",
    ))
});

/// A line of an access log: a request that was answered.
static ACCESS: LazyLock<Regex> = LazyLock::new(|| test(r"HTTP/[\d.]+\x22 [1-5]\d\d\b"));

/// Warnings of that sort.
static MILD: LazyLock<Regex> = LazyLock::new(|| {
    test(
        r"\b(?:insecure|optional|may (?:be|not be) |could be|consider |disabled?|won't be|will not be (?:used|available|persisted)|recommended|unless )",
    )
});

/// Why it is not ready.
static UNREADY: LazyLock<Regex> = LazyLock::new(|| {
    test(
        r"\b(?:not|n't|never|cannot|unable|until|before)\b[^\n]{0,40}\b(?:ready|healthy)\b|\bunhealthy\b|\bready\b[^\n]{0,20}\b(?:until|unless)\b|health ?check (?:failed|fails)",
    )
});

/// The record that tells most; `None` where there are none.
pub(super) fn choose(records: &[Record], lines: &[String], exit_code: Option<i32>) -> Option<Choice> {
    let shapes: Vec<String> = records.iter().map(shape).collect();
    let first_error = records.iter().position(|record| {
        // Many programs print their last error without a level.
        let serious =
            record.level <= Level::Error || record.level == Level::Unknown && ERROR.is_match(&record.text);
        serious && part(record) == Part::Candidate && !CLEANUP.is_match(&record.text)
    });
    let mut best: Option<(i32, Choice)> = None;
    let mut distance = 0;
    let mut concluding = true;
    let mut weighed: BTreeSet<&str> = BTreeSet::new();
    let mut recoveries: Vec<&str> = Vec::new();
    for (index, record) in records.iter().enumerate().rev() {
        let part = part(record);
        match part {
            Part::Noise | Part::Shutdown => continue,
            Part::Progress => {
                distance += if PROGRESS.is_match(&record.text) { 14 } else { 3 };
                if recoveries.len() < MAX_RECOVERIES && RECOVERY.is_match(&record.text) {
                    recoveries.push(&record.text);
                }
            }
            Part::Candidate | Part::Hollow => {}
        }
        // Nothing so far from the end can win any more.
        if distance > 130 || best.as_ref().is_some_and(|(best, _)| *best > BEST - distance) {
            break;
        }
        // What was said again later cannot win any more, and costs nothing.
        let shape = shapes.get(index).map_or("", String::as_str);
        if !shape.is_empty() && !weighed.insert(shape) {
            continue;
        }
        let (mut score, choice) =
            weigh(record, part, repetitions(&shapes, index), lines, exit_code, concluding);
        // Some loggers give the error of a call as a field of a note, and complain at once of what came of it.
        let mut next = records.get(index + 1..).unwrap_or_default().iter().take(2);
        let says_little =
            |r: &Record| r.error.is_empty() && MATCHER.best(&r.whole(), "", exit_code).is_none();
        if record.level == Level::Chatter
            && has_substance(&record.error)
            && next.any(|r| r.level == Level::Fatal && says_little(r))
        {
            score += 50;
        }
        // What fails while the program goes down follows from what brought it down.
        if first_error.is_some_and(|first| first < index) && CLEANUP.is_match(&record.text) {
            score -= 60;
        }
        if record.level > Level::Fatal && recoveries.iter().any(|later| same_matter(&record.text, later)) {
            score -= 60;
        }
        let score = score - distance.min(90);
        if score >= 14 && best.as_ref().is_none_or(|(best, _)| *best < score) {
            best = Some((score, Choice { record: index, ..choice }));
        }
        if part == Part::Candidate {
            // Words without a name or an error conclude nothing: what they follow from stands before them.
            let whole = record.whole();
            concluding &= !(has_substance(&whole) && ERROR.is_match(&whole));
            distance += 1;
        }
    }
    if let Some((_, choice)) = best {
        return Some(with_context(first_of_its_run(choice, records), records));
    }
    // Nothing reads like an error: what a rule knows near the end (a signal, a usage message), or the last words.
    let known = records.iter().enumerate().rev().take(10).find_map(|(index, record)| {
        let raw = lines.get(record.first).map_or("", String::as_str);
        let found = MATCHER.best(&record.whole(), raw, exit_code)?;
        let plain = !BORNE.is_match(&record.text) && record.level != Level::Warning;
        (plain && (found.rule.rank <= 50 || record.level == Level::Unknown && found.rule.rank > 90))
            .then_some(Choice { record: index, found: Some(found), error: false, strong: false })
    });
    if known.is_some() {
        return known;
    }
    let last = records
        .iter()
        .rposition(|record| part(record) != Part::Noise)
        .or_else(|| records.len().checked_sub(1))?;
    Some(Choice { record: last, found: None, error: false, strong: false })
}

/// What libraries and tools print bare, one line for each function that fails, begins with the innermost one:
/// `libbpf: kernel BTF is missing at ...`, then `libbpf: failed to load object`.
fn first_of_its_run(mut choice: Choice, records: &[Record]) -> Choice {
    static SPEAKER: LazyLock<Regex> = LazyLock::new(|| test(r"^lib[a-z][\w.-]{1,20}: \w"));
    let in_run = |at: usize| {
        let record = records.get(at).filter(|r| !r.headed && SPEAKER.is_match(&r.text));
        record.is_some_and(|record| part(record) == Part::Candidate)
    };
    if choice.found.is_none() && in_run(choice.record) {
        while choice.record.checked_sub(1).is_some_and(in_run) {
            choice.record -= 1;
        }
    }
    choice
}

/// What was thrown is often logged first, with words on what it was about, and printed again bare when nobody caught it:
/// the first is worth more. So is what said before whom the program spoke to, where the end only says how that went.
fn with_context(mut choice: Choice, records: &[Record]) -> Choice {
    let root = |record: &Record| {
        record.thrown.iter().rev().find(|thrown| !thrown.message.is_empty()).map(|t| t.message.clone())
    };
    let Some(chosen) = records.get(choice.record) else { return choice };
    let Some(said) = root(chosen) else { return choice };
    let from = choice.record.saturating_sub(4);
    let nameless = !names_peer(&chosen.whole());
    for (at, other) in records.iter().enumerate().take(choice.record).skip(from) {
        let serious = !other.text.is_empty() && other.level <= Level::Error;
        let same = chosen.text.is_empty() && root(other).is_some_and(|root| root == said);
        let peer = || nameless && said.len() > 10 && other.text.contains(&said) && names_peer(&other.text);
        if serious && (same || peer()) {
            choice.record = at;
            break;
        }
    }
    choice
}

/// What the program concludes with, where that is not the record that explains the end.
pub(super) fn conclusion(records: &[Record], explains: usize) -> Option<&Record> {
    // With a reason of its own it tells of another matter.
    static REASON: LazyLock<Regex> = LazyLock::new(|| test(r"\bfailed: \w+$"));
    let behind = records.get(explains + 1..)?;
    let follows = |text: &str| CLEANUP.is_match(text) || SHUTDOWN.is_match(text) || BORNE.is_match(text);
    let last = behind.iter().rev().find(|record| record.level <= Level::Error)?;
    // What the program went on after is not what it concludes on.
    let went_on = behind.iter().take_while(|record| !std::ptr::eq(*record, last));
    let went_on = went_on.filter(|record| PROGRESS.is_match(&record.text)).any(|r| part(r) == Part::Progress);
    let concludes = !went_on && !follows(&last.whole()) && !REASON.is_match(&last.text);
    (part(last) == Part::Candidate && concludes).then_some(last)
}

/// Whether a record says itself why: by an error or an exception that came with it.
pub(super) fn has_reason(record: &Record) -> bool {
    !record.error.is_empty() || !record.thrown.is_empty()
}

/// Whether that names a path, an address, or something in quotes.
fn names_reason(record: &Record) -> bool {
    static NAME: LazyLock<Regex> = LazyLock::new(|| test(r#"['"`]\w|\w['"`]|/\w|\w:\d{2,5}\b"#));
    let root = record.thrown.iter().rev().map(|thrown| thrown.message.as_str()).find(|m| !m.is_empty());
    ERROR.is_match(&record.whole()) && NAME.is_match(root.unwrap_or(&record.error))
}

/// The last try to renew a lease before this record.
pub(super) fn last_try(records: &[Record], before: usize) -> Option<&Record> {
    static TRY: LazyLock<Regex> = LazyLock::new(|| {
        test(
            r"(?:error|fail(?:ed|ure)) (?:\w+ ){1,3}(?:resource )?lock\b|\b(?:resource|update|optimistically) lock\b|failed to (?:\w+ )?(?:renew|update) (?:the )?lease",
        )
    });
    let mut earlier = records.get(..before)?.iter().rev().take(40);
    let tries = |record: &&Record| TRY.is_match(&record.text) && part(record) != Part::Hollow;
    earlier.find(tries)
}

/// Whether a text names a host with its port, or an address.
fn names_peer(text: &str) -> bool {
    static PEER: LazyLock<Regex> =
        LazyLock::new(|| test(r"\w+://[^\s/]|[\w-]\.[\w.-]+:\d{2,5}\b|\b\w[\w-]+:\d{4,5}\b"));
    PEER.is_match(text)
}

/// How much a record tells.
fn weigh(
    record: &Record,
    part: Part,
    same: i32,
    lines: &[String],
    exit_code: Option<i32>,
    concluding: bool,
) -> (i32, Choice) {
    let whole = record.whole();
    let raw = lines.get(record.first).map_or("", String::as_str);
    let found = MATCHER.best(&whole, raw, exit_code);
    // A server that logs the exception of its worker has lost it: `Exception in worker process`.
    let alone = !record.headed || UNCAUGHT.is_match(&record.text);
    let uncaught = record.stack && alone && (!record.thrown.is_empty() || record.level == Level::Fatal);
    let bare = !record.headed && record.thrown.iter().any(|thrown| !thrown.class.is_empty());
    let reads = ERROR.is_match(&whole);
    let level = match record.level {
        Level::Fatal => 50,
        _ if uncaught => 50,
        Level::Error => 42,
        _ if bare => 42,
        Level::Unknown if reads => 34,
        // An exception that is only warned of may still be the last thing that happened.
        Level::Warning if record.stack && !record.thrown.is_empty() => 36,
        // So may a call whose error came with it.
        Level::Warning if !record.error.is_empty() => 30,
        Level::Warning => 26,
        Level::Unknown => 6,
        Level::Chatter if reads => -20,
        Level::Chatter => -30,
    };
    let mut score = level + found.as_ref().map_or(0, |found| found.rank * 3 / 5);
    if part == Part::Hollow {
        score -= 34;
    }
    let error = level >= 34;
    if error {
        score += same.min(3) * 2;
        // What the program concludes with; a known but general word is not worth more for that.
        let general = found.as_ref().is_some_and(|found| found.rule.rank < 80);
        if concluding
            && part == Part::Candidate
            && !general
            && (found.is_some() || reads && has_substance(&whole))
        {
            // With a reason that names a thing, a fatal error at the end outweighs any that the program went on after.
            score += if level >= 50 && names_reason(record) {
                40
            } else if level >= 50 {
                18
            } else {
                10
            };
        }
        if found.is_none() && !has_substance(&whole) {
            score -= 12;
        }
    }
    if level < 50 && BORNE.is_match(&whole) {
        score -= 45;
        // What is only warned of is not worth more because a rule knows its words.
        if record.level == Level::Warning {
            score -= found.as_ref().map_or(0, |found| found.rank * 3 / 5);
        }
    }
    if record.level == Level::Warning && MILD.is_match(&whole) {
        score -= 20;
    }
    let strong =
        level >= 50 || same >= 2 && (error || record.level == Level::Warning && UNREADY.is_match(&whole));
    let error = error || !record.thrown.is_empty();
    (score, Choice { record: 0, found, error, strong })
}

/// The beginning of a message without its numbers, to tell what was said again; empty where there is too little of it.
fn shape(record: &Record) -> String {
    let shape: String = record.text.chars().filter(|c| !c.is_ascii_digit()).take(80).collect();
    if shape.len() < 8 { String::new() } else { shape }
}

/// How often the same was said before.
fn repetitions(shapes: &[String], index: usize) -> i32 {
    let Some(mine) = shapes.get(index).filter(|shape| !shape.is_empty()) else { return 0 };
    let before = shapes.get(..index).unwrap_or_default().iter().rev().take(60);
    before.filter(|other| *other == mine).take(3).map(|_| 1).sum()
}

/// Whether a text names anything: a path, a quoted name, a number with a unit, a setting, a chain of causes.
fn has_substance(text: &str) -> bool {
    static NAME: LazyLock<Regex> = LazyLock::new(|| {
        test(
            r#"/\w|['"`\[][\w./:-]+['"`\]]|\d+[.:]\d+|\w=\w|: \w|\w_\w|(?-i:[a-z][A-Z])|\w\.\w|--\w|\b\d{2,}\b"#,
        )
    });
    NAME.is_match(text)
}

fn part(record: &Record) -> Part {
    let text = record.text.trim();
    if text.is_empty() && record.thrown.is_empty() && record.error.is_empty() {
        return Part::Noise;
    }
    // A trace without its error, or the source line that Node.js prints in front of it.
    if record.thrown.is_empty()
        && record.error.is_empty()
        && !text.starts_with("panic:")
        && thrown::is_frame(text)
    {
        return Part::Noise;
    }
    if text.chars().all(|c| !c.is_alphabetic()) && record.thrown.is_empty() {
        return Part::Noise;
    }
    let serious = record.level <= Level::Error || record.stack;
    if !serious && ACCESS.is_match(text) {
        return Part::Progress;
    }
    // Advice behind an error does not make the error advice.
    let advice = ADVICE.find(text).is_some_and(|found| found.start() < 120);
    if advice && record.thrown.is_empty() && record.error.is_empty() {
        return Part::Noise;
    }
    // An exception or error beside a wrapper says more, unless it is one itself.
    let root =
        record.thrown.iter().rev().map(|thrown| thrown.message.as_str()).find(|message| !message.is_empty());
    let inner = root.unwrap_or(if record.error.is_empty() { text } else { record.error.as_str() });
    let ends_in_number = inner.trim_end_matches(['.', ')']).ends_with(|c: char| c.is_ascii_digit());
    if HOLLOW.is_match(inner) || ends_in_number && STATUS.is_match(inner) {
        return Part::Hollow;
    }
    if serious {
        return Part::Candidate;
    }
    let reads = ERROR.is_match(text) || !record.error.is_empty() || !record.thrown.is_empty();
    if SHUTDOWN.is_match(text) && (record.level == Level::Chatter || !reads) {
        return Part::Shutdown;
    }
    match record.level {
        Level::Warning => Part::Candidate,
        Level::Chatter if reads && !PROGRESS.is_match(text) => Part::Candidate,
        Level::Chatter => Part::Progress,
        _ if !reads => Part::Progress,
        _ => Part::Candidate,
    }
}
