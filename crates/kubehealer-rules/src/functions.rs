//! The functions that expressions can call: CEL's own, Kubernetes' additions to it, and one of KubeHealer's.
//!
//! Each has the types that it takes and gives, so that `check` can refuse a wrong call when the rule is loaded. Functions
//! that need more than values (regular expressions, calendars with a time zone, loops) are operations of their own.
//!
//! Must not know how a call is written.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::eval::{Arithmetic, Fail, Run, fail, mistyped};
use super::value::{Kind, Obj, Type, Value};
use kubehealer_core::objects::quantity;

/// A type that an argument or a result may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sort {
    Bool,
    Int,
    Double,
    Text,
    Duration,
    Time,
    Quantity,
    /// Of anything.
    List,
    Texts,
    /// Of what can be ordered.
    Ordered,
    Ints,
    Doubles,
    Durations,
    Map,
    Container,
    /// What the list holds that is the first argument.
    Element,
}

type Call = for<'a> fn(&mut Run<'a>, &[Value<'a>]) -> Result<Value<'a>, Fail>;

/// A function, or one of its forms.
pub(super) struct Function {
    pub(super) name: &'static str,
    /// Called as `x.f(y)`; the receiver is the first argument.
    pub(super) method: bool,
    pub(super) takes: &'static [Sort],
    pub(super) gives: Sort,
    pub(super) call: Call,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// As the docs and the errors write it: `string.startsWith(string) -> bool`.
impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut takes = self.takes.iter().map(|t| t.word());
        if self.method {
            write!(f, "{}.", takes.next().unwrap_or_default())?;
        }
        let rest: Vec<_> = takes.collect();
        write!(f, "{}({})", self.name, rest.join(", "))
    }
}

impl Sort {
    fn word(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::Text => "string",
            Self::Duration => "duration",
            Self::Time => "timestamp",
            Self::Quantity => "quantity",
            Self::List | Self::Ordered => "list",
            Self::Ints => "list(int)",
            Self::Doubles => "list(double)",
            Self::Durations => "list(duration)",
            Self::Texts => "list(string)",
            Self::Map => "map",
            Self::Container => "container",
            Self::Element => "element",
        }
    }

    /// The type of a result, given the type of the first argument.
    pub(super) fn of(self, first: Option<&Type>) -> Type {
        match (self, first) {
            (Self::Bool, _) => Type::Bool,
            (Self::Int, _) => Type::Int,
            (Self::Double, _) => Type::Double,
            (Self::Text, _) => Type::Text,
            (Self::Duration, _) => Type::Duration,
            (Self::Time, _) => Type::Time,
            (Self::Quantity, _) => Type::Quantity,
            (Self::Texts, _) => Type::list(Type::Text),
            (Self::Element, Some(Type::List(of))) => (**of).clone(),
            _ => Type::Any,
        }
    }

    /// Whether a value of this type will do; `first` is the type of the first argument.
    pub(super) fn fits(self, given: &Type, first: &Type) -> bool {
        if *given == Type::Any {
            return true;
        }
        match self {
            Self::List => matches!(given, Type::List(_)),
            Self::Texts => matches!(given, Type::List(of) if matches!(**of, Type::Text | Type::Any)),
            Self::Ordered => matches!(given, Type::List(of) if is_ordered(of)),
            Self::Ints => matches!(given, Type::List(of) if matches!(**of, Type::Int | Type::Any)),
            Self::Doubles => matches!(given, Type::List(of) if **of == Type::Double),
            Self::Durations => matches!(given, Type::List(of) if **of == Type::Duration),
            Self::Map => matches!(given, Type::Map(_)),
            Self::Container => *given == Type::Object(Kind::Container),
            Self::Element => matches!(first, Type::List(of) if of.fits(given) && is_comparable(given)),
            one => *given == one.of(None),
        }
    }
}

/// Whether `<` is defined.
pub(super) fn is_ordered(of: &Type) -> bool {
    matches!(of, Type::Int | Type::Double | Type::Text | Type::Bool | Type::Duration | Type::Time | Type::Any)
}

/// Whether `==` is defined.
pub(super) fn is_comparable(of: &Type) -> bool {
    match of {
        Type::Object(_) => false,
        Type::List(of) | Type::Map(of) => is_comparable(of),
        _ => true,
    }
}

macro_rules! function {
    ($name:literal, [$($takes:ident),*] -> $gives:ident, $call:expr) => {
        Function { name: $name, method: false, takes: &[$(Sort::$takes),*], gives: Sort::$gives, call: $call }
    };
}
macro_rules! method {
    ($name:literal, [$($takes:ident),*] -> $gives:ident, $call:expr) => {
        Function { name: $name, method: true, takes: &[$(Sort::$takes),*], gives: Sort::$gives, call: $call }
    };
}

/// All functions, in the order of the docs.
pub(super) static FUNCTIONS: &[Function] = &[
    // CEL: size
    function!("size", [Text] -> Int, size),
    function!("size", [List] -> Int, size),
    function!("size", [Map] -> Int, size),
    method!("size", [Text] -> Int, size),
    method!("size", [List] -> Int, size),
    method!("size", [Map] -> Int, size),
    // CEL: texts
    method!("startsWith", [Text, Text] -> Bool, |run, args| {
        let (text, start) = texts(args)?;
        run.spend_text(start.len())?;
        Ok(Value::Bool(text.starts_with(start)))
    }),
    method!("endsWith", [Text, Text] -> Bool, |run, args| {
        let (text, end) = texts(args)?;
        run.spend_text(end.len())?;
        Ok(Value::Bool(text.ends_with(end)))
    }),
    method!("contains", [Text, Text] -> Bool, |run, args| {
        let (text, part) = texts(args)?;
        run.spend_text(text.len() + part.len())?;
        Ok(Value::Bool(text.contains(part)))
    }),
    // Kubernetes: texts
    method!("charAt", [Text, Int] -> Text, |run, args| {
        let (text, i) = (text(args, 0)?, index(args, 1)?);
        run.spend_text(text.len())?;
        let mut chars = text.chars().skip(i);
        match chars.next() {
            Some(c) => Ok(Value::Text(Cow::Owned(c.to_string()))),
            None if i == text.chars().count() => Ok(Value::Text(Cow::Borrowed(""))),
            None => fail(format!("there is no character {i}")),
        }
    }),
    method!("indexOf", [Text, Text] -> Int, |run, args| find_text(run, args, false)),
    method!("indexOf", [Text, Text, Int] -> Int, |run, args| find_text(run, args, false)),
    method!("lastIndexOf", [Text, Text] -> Int, |run, args| find_text(run, args, true)),
    method!("lowerAscii", [Text] -> Text, |run, args| {
        let text = text(args, 0)?;
        run.spend_new_text(text.len())?;
        Ok(Value::Text(Cow::Owned(text.to_ascii_lowercase())))
    }),
    method!("upperAscii", [Text] -> Text, |run, args| {
        let text = text(args, 0)?;
        run.spend_new_text(text.len())?;
        Ok(Value::Text(Cow::Owned(text.to_ascii_uppercase())))
    }),
    method!("trim", [Text] -> Text, |run, args| {
        let text = text(args, 0)?;
        run.spend_new_text(text.len())?;
        Ok(Value::Text(Cow::Owned(text.trim().to_owned())))
    }),
    method!("substring", [Text, Int] -> Text, substring),
    method!("substring", [Text, Int, Int] -> Text, substring),
    method!("replace", [Text, Text, Text] -> Text, replace),
    method!("replace", [Text, Text, Text, Int] -> Text, replace),
    method!("split", [Text, Text] -> Texts, split),
    method!("split", [Text, Text, Int] -> Texts, split),
    method!("join", [Texts] -> Text, join),
    method!("join", [Texts, Text] -> Text, join),
    // Kubernetes: lists
    method!("isSorted", [Ordered] -> Bool, |run, args| {
        let items = list(args)?;
        for pair in items.windows(2) {
            run.spend(1)?;
            let [a, b] = pair else { continue };
            if run.order(a, b)? == Some(Ordering::Greater) {
                return Ok(Value::Bool(false));
            }
        }
        Ok(Value::Bool(true))
    }),
    method!("sum", [Ints] -> Int, |run, args| sum(run, args, Value::Int(0))),
    method!("sum", [Doubles] -> Double, |run, args| sum(run, args, Value::Double(0.0))),
    method!("sum", [Durations] -> Duration, |run, args| sum(run, args, Value::Duration(SignedDuration::ZERO))),
    method!("min", [Ordered] -> Element, |run, args| extreme(run, args, Ordering::Less)),
    method!("max", [Ordered] -> Element, |run, args| extreme(run, args, Ordering::Greater)),
    method!("indexOf", [List, Element] -> Int, |run, args| find_item(run, args, false)),
    method!("lastIndexOf", [List, Element] -> Int, |run, args| find_item(run, args, true)),
    // CEL: conversions
    function!("int", [Int] -> Int, same),
    function!("int", [Double] -> Int, to_int),
    function!("int", [Text] -> Int, to_int),
    function!("int", [Time] -> Int, to_int),
    function!("double", [Double] -> Double, same),
    function!("double", [Int] -> Double, to_double),
    function!("double", [Text] -> Double, to_double),
    function!("string", [Text] -> Text, same),
    function!("string", [Int] -> Text, to_text),
    function!("string", [Double] -> Text, to_text),
    function!("string", [Bool] -> Text, to_text),
    function!("string", [Duration] -> Text, to_text),
    function!("string", [Time] -> Text, to_text),
    function!("bool", [Bool] -> Bool, same),
    function!("bool", [Text] -> Bool, |_, args| match text(args, 0)? {
        "true" | "True" | "TRUE" | "t" | "1" => Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" | "f" | "0" => Ok(Value::Bool(false)),
        other => fail(format!("{other:?} is not true or false")),
    }),
    function!("duration", [Text] -> Duration, |_, args| {
        duration(text(args, 0)?).map(Value::Duration).map_err(Fail::Says)
    }),
    function!("duration", [Duration] -> Duration, same),
    function!("timestamp", [Text] -> Time, |_, args| {
        timestamp(text(args, 0)?).map(Value::Time).map_err(Fail::Says)
    }),
    function!("timestamp", [Time] -> Time, same),
    // CEL: durations
    method!("getHours", [Duration] -> Int, |_, args| Ok(Value::Int(span(args)?.as_secs() / 3600))),
    method!("getMinutes", [Duration] -> Int, |_, args| Ok(Value::Int(span(args)?.as_secs() / 60))),
    method!("getSeconds", [Duration] -> Int, |_, args| Ok(Value::Int(span(args)?.as_secs()))),
    method!("getMilliseconds", [Duration] -> Int, |_, args| {
        Ok(Value::Int(i64::try_from(span(args)?.as_millis()).unwrap_or(i64::MAX)))
    }),
    // Kubernetes: quantities
    function!("isQuantity", [Text] -> Bool, |_, args| Ok(Value::Bool(quantity::parse(text(args, 0)?).is_some()))),
    function!("quantity", [Text] -> Quantity, |_, args| {
        parse_quantity(text(args, 0)?).map(Value::Quantity).map_err(Fail::Says)
    }),
    method!("isInteger", [Quantity] -> Bool, |_, args| Ok(Value::Bool(whole(amount(args, 0)?).is_some()))),
    method!("asInteger", [Quantity] -> Int, |_, args| match whole(amount(args, 0)?) {
        Some(i) => Ok(Value::Int(i)),
        None => fail("the quantity is not a whole number"),
    }),
    method!("asApproximateFloat", [Quantity] -> Double, |_, args| Ok(Value::Double(amount(args, 0)?))),
    method!("sign", [Quantity] -> Int, |_, args| {
        let q = amount(args, 0)?;
        Ok(Value::Int(i64::from(q > 0.0) - i64::from(q < 0.0)))
    }),
    method!("add", [Quantity, Quantity] -> Quantity, |_, args| Ok(Value::Quantity(amount(args, 0)? + amount(args, 1)?))),
    method!("add", [Quantity, Int] -> Quantity, |_, args| Ok(Value::Quantity(amount(args, 0)? + amount(args, 1)?))),
    method!("sub", [Quantity, Quantity] -> Quantity, |_, args| Ok(Value::Quantity(amount(args, 0)? - amount(args, 1)?))),
    method!("sub", [Quantity, Int] -> Quantity, |_, args| Ok(Value::Quantity(amount(args, 0)? - amount(args, 1)?))),
    method!("isGreaterThan", [Quantity, Quantity] -> Bool, |_, args| Ok(Value::Bool(amount(args, 0)? > amount(args, 1)?))),
    method!("isLessThan", [Quantity, Quantity] -> Bool, |_, args| Ok(Value::Bool(amount(args, 0)? < amount(args, 1)?))),
    method!("compareTo", [Quantity, Quantity] -> Int, |_, args| {
        let order = amount(args, 0)?.partial_cmp(&amount(args, 1)?).unwrap_or(Ordering::Equal);
        Ok(Value::Int(order as i64))
    }),
    // KubeHealer: containers
    method!("restartsWithin", [Container, Duration] -> Int, |run, args| match args {
        [Value::Object(Obj::Container(container)), Value::Duration(within)] => {
            Ok(Value::Int(container.restarts_within(*within, run.scope.now)))
        }
        _ => Err(mistyped()),
    }),
];

fn text<'v>(args: &'v [Value<'_>], i: usize) -> Result<&'v str, Fail> {
    match args.get(i) {
        Some(Value::Text(text)) => Ok(text),
        _ => Err(mistyped()),
    }
}

fn texts<'v>(args: &'v [Value<'_>]) -> Result<(&'v str, &'v str), Fail> {
    Ok((text(args, 0)?, text(args, 1)?))
}

fn number(args: &[Value<'_>], i: usize) -> Result<i64, Fail> {
    match args.get(i) {
        Some(Value::Int(i)) => Ok(*i),
        _ => Err(mistyped()),
    }
}

fn index(args: &[Value<'_>], i: usize) -> Result<usize, Fail> {
    let number = number(args, i)?;
    usize::try_from(number).or_else(|_| fail(format!("{number} is not an index")))
}

fn list<'v, 'a>(args: &'v [Value<'a>]) -> Result<&'v [Value<'a>], Fail> {
    match args.first() {
        Some(Value::List(list)) => Ok(list),
        _ => Err(mistyped()),
    }
}

fn span(args: &[Value<'_>]) -> Result<SignedDuration, Fail> {
    match args.first() {
        Some(Value::Duration(d)) => Ok(*d),
        _ => Err(mistyped()),
    }
}

fn amount(args: &[Value<'_>], i: usize) -> Result<f64, Fail> {
    match args.get(i) {
        Some(Value::Quantity(q)) => Ok(*q),
        Some(Value::Int(i)) => Ok(*i as f64),
        _ => Err(mistyped()),
    }
}

fn whole(q: f64) -> Option<i64> {
    (q.fract() == 0.0 && q.abs() < 9.2e18).then_some(q as i64)
}

fn same<'a>(_: &mut Run<'a>, args: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    args.first().cloned().ok_or_else(mistyped)
}

fn size<'a>(run: &mut Run<'a>, args: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let size = match args.first() {
        Some(Value::Text(text)) => {
            run.spend_text(text.len())?;
            text.chars().count()
        }
        Some(Value::List(list)) => list.len(),
        Some(Value::Map(map)) => map.len(),
        _ => return Err(mistyped()),
    };
    Ok(Value::Int(size as i64))
}

/// Where a text is in another, in characters; -1 if nowhere.
fn find_text<'a>(run: &mut Run<'a>, args: &[Value<'a>], last: bool) -> Result<Value<'a>, Fail> {
    let (text, part) = texts(args)?;
    run.spend_text(text.len() + part.len())?;
    let from = if args.len() > 2 { index(args, 2)? } else { 0 };
    let Some(from) = text.char_indices().map(|(i, _)| i).chain([text.len()]).nth(from) else {
        return fail(format!("there is no character {from}"));
    };
    let rest = text.get(from..).unwrap_or_default();
    let found = if last { rest.rfind(part) } else { rest.find(part) };
    let found = found.and_then(|i| text.get(..from + i)).map_or(-1, |before| before.chars().count() as i64);
    Ok(Value::Int(found))
}

fn find_item<'a>(run: &mut Run<'a>, args: &[Value<'a>], last: bool) -> Result<Value<'a>, Fail> {
    let (items, Some(wanted)) = (list(args)?, args.get(1)) else { return Err(mistyped()) };
    let mut found = -1;
    for (i, item) in items.iter().enumerate() {
        run.spend(1)?;
        if run.equal(item, wanted)? {
            found = i as i64;
            if !last {
                break;
            }
        }
    }
    Ok(Value::Int(found))
}

fn substring<'a>(run: &mut Run<'a>, args: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let (text, from) = (text(args, 0)?, index(args, 1)?);
    run.spend_new_text(text.len())?;
    let length = text.chars().count();
    let to = if args.len() > 2 { index(args, 2)? } else { length };
    if from > to || to > length {
        return fail(format!("there are no characters {from} to {to} in a string of {length}"));
    }
    Ok(Value::Text(Cow::Owned(text.chars().skip(from).take(to - from).collect())))
}

fn limit(args: &[Value<'_>], i: usize) -> Result<usize, Fail> {
    if args.len() <= i {
        return Ok(usize::MAX);
    }
    Ok(usize::try_from(number(args, i)?).unwrap_or(usize::MAX))
}

fn replace<'a>(run: &mut Run<'a>, args: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let (from, old, new) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
    let limit = limit(args, 3)?;
    run.spend_text(from.len() + old.len())?;
    let times = from.matches(old).take(limit).count();
    run.spend_new_text(from.len().saturating_add(times.saturating_mul(new.len())))?;
    Ok(Value::Text(Cow::Owned(from.replacen(old, new, limit))))
}

fn split<'a>(run: &mut Run<'a>, args: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let (text, by) = texts(args)?;
    let limit = limit(args, 2)?;
    run.spend_text(text.len() + by.len())?;
    let mut parts = Vec::new();
    let mut rest = text;
    let own = |part: &str| Value::Text(Cow::Owned(part.to_owned()));
    while parts.len() + 1 < limit {
        run.spend(1)?;
        // Without a separator a text falls apart into its characters.
        let cut = if by.is_empty() {
            rest.chars().next().map(char::len_utf8).filter(|&n| n < rest.len()).map(|n| (n, n))
        } else {
            rest.find(by).map(|i| (i, i + by.len()))
        };
        let Some((end, next)) = cut else { break };
        parts.push(own(rest.get(..end).unwrap_or_default()));
        rest = rest.get(next..).unwrap_or_default();
    }
    if limit > 0 {
        parts.push(own(rest));
    }
    Ok(Value::List(parts.into()))
}

fn join<'a>(run: &mut Run<'a>, args: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let items = list(args)?;
    let by = if args.len() > 1 { text(args, 1)? } else { "" };
    let mut joined = String::new();
    for (i, item) in items.iter().enumerate() {
        let Value::Text(item) = item else { return Err(mistyped()) };
        run.spend(1)?;
        run.spend_new_text(joined.len().saturating_add(by.len()).saturating_add(item.len()))?;
        if i > 0 {
            joined.push_str(by);
        }
        joined.push_str(item);
    }
    Ok(Value::Text(Cow::Owned(joined)))
}

fn sum<'a>(run: &mut Run<'a>, args: &[Value<'a>], zero: Value<'a>) -> Result<Value<'a>, Fail> {
    let mut total = zero;
    for item in list(args)? {
        run.spend(1)?;
        total = run.arithmetic(Arithmetic::Add, total, item.clone())?;
    }
    Ok(total)
}

fn extreme<'a>(run: &mut Run<'a>, args: &[Value<'a>], wanted: Ordering) -> Result<Value<'a>, Fail> {
    let mut items = list(args)?.iter();
    let Some(mut best) = items.next() else { return fail("the list is empty") };
    for item in items {
        run.spend(1)?;
        if run.order(item, best)? == Some(wanted) {
            best = item;
        }
    }
    Ok(best.clone())
}

fn to_int<'a>(_: &mut Run<'a>, args: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    Ok(Value::Int(match args.first() {
        Some(Value::Double(d)) if d.is_finite() && d.abs() < 9.2e18 => *d as i64,
        Some(Value::Double(d)) => return fail(format!("{d} is out of range")),
        Some(Value::Text(text)) => {
            text.parse().or_else(|_| fail(format!("{text:?} is not a whole number")))?
        }
        Some(Value::Time(time)) => time.as_second(),
        _ => return Err(mistyped()),
    }))
}

fn to_double<'a>(_: &mut Run<'a>, args: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    Ok(Value::Double(match args.first() {
        Some(Value::Int(i)) => *i as f64,
        Some(Value::Text(text)) => text.parse().or_else(|_| fail(format!("{text:?} is not a number")))?,
        _ => return Err(mistyped()),
    }))
}

fn to_text<'a>(_: &mut Run<'a>, args: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let value = args.first().ok_or_else(mistyped)?;
    Ok(Value::Text(Cow::Owned(show(value).ok_or_else(mistyped)?)))
}

/// A value as `string()` and templates write it; none for lists, maps and objects.
pub(super) fn show(value: &Value<'_>) -> Option<String> {
    Some(match value {
        Value::Text(text) => text.clone().into_owned(),
        Value::Int(i) => i.to_string(),
        Value::Double(d) | Value::Quantity(d) => d.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::Duration(d) => format!("{}s", d.as_secs_f64()),
        Value::Time(t) => t.to_string(),
        Value::List(_) | Value::Map(_) | Value::Object(_) => return None,
    })
}

/// A duration as CEL and Go write it: `1h30m`, `-1.5s`, `300ms`.
pub(super) fn duration(text: &str) -> Result<SignedDuration, String> {
    let wrong = || {
        format!(
            "{text:?} is not a duration: write hours, minutes and seconds, such as \"720h\", \"10m\" or \"1h30m\""
        )
    };
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        seconds += number
            * match unit {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return Err(wrong()),
            };
        rest = after;
    }
    if negative {
        seconds = -seconds;
    }
    // Go's durations end at 292 years as well.
    if seconds.abs() > 9.2e9 {
        return Err(format!("{text:?} is longer than a duration can be"));
    }
    SignedDuration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// A time as RFC 3339 writes it.
pub(super) fn timestamp(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| format!("{text:?} is not a time: write it like \"2026-11-22T10:00:00Z\""))
}

/// A quantity as Kubernetes writes it.
pub(super) fn parse_quantity(text: &str) -> Result<f64, String> {
    quantity::parse(text)
        .ok_or_else(|| format!("{text:?} is not a quantity: write it like \"64Mi\", \"1.5\" or \"250m\""))
}
