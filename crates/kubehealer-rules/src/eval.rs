//! Evaluates a checked expression, within a budget.
//!
//! CEL cannot loop for ever, but nested loops over lists, and texts that are doubled again and again, can take any time and
//! memory. So every step is paid for, and every text and list before it is built: an expression ends within its budget
//! whatever it says and whatever it looks at. Types are known to fit, since `check` has seen the expression; what is left to
//! fail are absent fields and keys, and arithmetic.
//!
//! Must not know how expressions are written.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use regex::Regex;

use super::STEPS_PER_POD;
use super::functions::Function;
use super::value::{ContainerView, Field, Map, Obj, Value};
use kubehealer_core::diagnosis::Finding;
use kubehealer_core::objects::{Event, Pod};

/// What one rule may spend on one pod, in steps: about one field, comparison or call each, or 16 bytes of text.
pub(super) const STEPS_PER_RULE: u32 = 20_000;
/// No text that an expression builds may be longer, in bytes.
const MAX_TEXT: usize = 64 * 1024;

/// An expression that has been checked, with its place in the source.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: u32,
    pub(super) op: Op,
}

#[derive(Debug)]
pub(super) enum Op {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Box<str>),
    Duration(SignedDuration),
    Time(Timestamp),
    Quantity(f64),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Variable(Variable),
    /// The variable of an enclosing loop, outermost first.
    Local(usize),
    Get(Box<Node>, &'static Field),
    Has(Box<Node>, &'static Field),
    Key(Box<Node>, Box<Node>),
    HasKey(Box<Node>, Box<Node>),
    Item(Box<Node>, Box<Node>),
    Not(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    If(Box<Node>, Box<Node>, Box<Node>),
    Negate(Box<Node>),
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    Equal(Box<Node>, Box<Node>),
    InList(Box<Node>, Box<Node>),
    /// The commonest list: texts that are all written out.
    InTexts(Box<Node>, Box<[Box<str>]>),
    Call(&'static Function, Vec<Node>),
    Regex(Search, Box<Node>, Box<Pattern>),
    Calendar(Part, Box<Node>, TimeZone),
    Loop(Loop, Box<Node>, Box<Node>, Option<Box<Node>>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Variable {
    Pod,
    Container,
    Finding,
    Events,
    Now,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Search {
    Matches,
    Find,
    FindAll(usize),
}

/// A regular expression and what a byte of text costs with it, in sixteenths of a step.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) regex: Regex,
    pub(super) weight: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Loop {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

/// What the variables of an expression stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) pod: Option<&'a Pod>,
    pub(super) container: Option<ContainerView<'a>>,
    pub(super) finding: Option<&'a Finding>,
    pub(super) events: &'a [Event],
    pub(super) now: Timestamp,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    /// Byte of the expression.
    pub(super) at: u32,
    pub(super) message: String,
    /// The budget is used up: nothing that stands around it can make up for it.
    pub(super) exhausted: bool,
}

/// Why a function has no value.
#[derive(Debug)]
pub(super) enum Fail {
    Says(String),
    Exhausted,
}

pub(super) fn fail<T>(message: impl Into<String>) -> Result<T, Fail> {
    Err(Fail::Says(message.into()))
}

/// An evaluation under way.
pub(super) struct Run<'a> {
    pub(super) scope: Scope<'a>,
    steps: u32,
    locals: Vec<Value<'a>>,
}

impl<'a> Run<'a> {
    pub(super) fn new(scope: Scope<'a>, steps: u32) -> Self {
        Self { scope, steps, locals: Vec::new() }
    }

    /// Steps that are left.
    pub(super) fn left(&self) -> u32 {
        self.steps
    }

    /// Pays for what is about to be done.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Fail> {
        match u32::try_from(steps).ok().and_then(|steps| self.steps.checked_sub(steps)) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => {
                self.steps = 0;
                Err(Fail::Exhausted)
            }
        }
    }

    /// Pays for reading or building a text of so many bytes.
    pub(super) fn spend_text(&mut self, bytes: usize) -> Result<(), Fail> {
        self.spend(bytes / 16)
    }

    /// Pays for building a text, and refuses one that is too long.
    pub(super) fn spend_new_text(&mut self, bytes: usize) -> Result<(), Fail> {
        if bytes > MAX_TEXT {
            return fail(format!("builds a string of {bytes} bytes; at most {MAX_TEXT} are allowed"));
        }
        self.spend_text(bytes)
    }

    /// The value of an expression.
    pub(super) fn eval(&mut self, node: &'a Node) -> Result<Value<'a>, Failure> {
        self.step(node).map_err(|error| error.at(node))
    }

    /// The value of a condition.
    pub(super) fn test(&mut self, node: &'a Node) -> Result<bool, Failure> {
        Ok(matches!(self.eval(node)?, Value::Bool(true)))
    }

    fn step(&mut self, node: &'a Node) -> Result<Value<'a>, Stop> {
        self.spend(1)?;
        Ok(match &node.op {
            Op::Bool(b) => Value::Bool(*b),
            Op::Int(i) => Value::Int(*i),
            Op::Text(t) => Value::Text(Cow::Borrowed(t)),
            Op::Variable(variable) => self.variable(*variable)?,
            Op::Get(of, field) => match self.field(of, field)? {
                Some(value) => value,
                None => {
                    return Err(
                        Fail::Says(format!("{} is not set: check it with has() first", field.name)).into()
                    );
                }
            },
            Op::Has(of, field) => Value::Bool(match self.field(of, field)? {
                None => false,
                Some(Value::Text(text)) => !text.is_empty(),
                Some(Value::List(list)) => !list.is_empty(),
                Some(Value::Map(map)) => map.len() > 0,
                Some(_) => true,
            }),
            Op::Not(of) => Value::Bool(!self.test(of)?),
            Op::And(a, b) => Value::Bool(!self.either(a, b, false)?),
            Op::Or(a, b) => Value::Bool(self.either(a, b, true)?),
            Op::Compare(op, a, b) => {
                let (a, b) = (self.eval(a)?, self.eval(b)?);
                let order = self.order(&a, &b)?;
                Value::Bool(match op {
                    Comparison::Less => order == Some(Ordering::Less),
                    Comparison::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                    Comparison::Greater => order == Some(Ordering::Greater),
                    Comparison::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
                })
            }
            Op::Equal(a, b) => {
                let (a, b) = (self.eval(a)?, self.eval(b)?);
                Value::Bool(self.equal(&a, &b)?)
            }
            Op::InTexts(a, texts) => {
                self.spend(texts.len() / 4)?;
                let a = self.text(a)?;
                Value::Bool(texts.iter().any(|t| **t == *a))
            }
            Op::Call(function, arguments) => match arguments.as_slice() {
                [a] => {
                    let a = [self.eval(a)?];
                    (function.call)(self, &a)?
                }
                [a, b] => {
                    let both = [self.eval(a)?, self.eval(b)?];
                    (function.call)(self, &both)?
                }
                many => {
                    let mut values = Vec::with_capacity(many.len());
                    for argument in many {
                        values.push(self.eval(argument)?);
                    }
                    (function.call)(self, &values)?
                }
            },
            _ => return self.step_rarely(node),
        })
    }

    /// The steps that few conditions take. Apart, so that those of most do not pay for their room on the stack.
    #[inline(never)]
    fn step_rarely(&mut self, node: &'a Node) -> Result<Value<'a>, Stop> {
        Ok(match &node.op {
            Op::Double(d) => Value::Double(*d),
            Op::Duration(d) => Value::Duration(*d),
            Op::Time(t) => Value::Time(*t),
            Op::Quantity(q) => Value::Quantity(*q),
            Op::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.push(self.eval(item)?);
                }
                Value::List(list.into())
            }
            Op::Map(entries) => {
                let mut map: Vec<(Cow<'a, str>, Value<'a>)> = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    let key = self.text(key)?;
                    self.spend(map.len())?;
                    if map.iter().any(|(k, _)| *k == key) {
                        return Err(Fail::Says(format!("the key {key:?} appears twice")).into());
                    }
                    map.push((key, self.eval(value)?));
                }
                Value::Map(Map::Own(map.into()))
            }
            Op::Local(i) => match self.locals.get(*i) {
                Some(value) => value.clone(),
                None => return Err(Fail::Says("a loop's variable outside of its loop".into()).into()),
            },
            Op::Key(of, key) => {
                let (found, key) = self.key(of, key)?;
                match found {
                    Some(value) => value,
                    None => {
                        return Err(
                            Fail::Says(format!("there is no key {key:?}: check with `in` first")).into()
                        );
                    }
                }
            }
            Op::HasKey(of, key) => Value::Bool(self.key(of, key)?.0.is_some()),
            Op::Item(of, index) => {
                let list = self.list(of)?;
                let index = self.int(index)?;
                match usize::try_from(index).ok().and_then(|i| list.get(i)) {
                    Some(value) => value.clone(),
                    None => {
                        let len = list.len();
                        return Err(Fail::Says(format!("there is no item {index} in a list of {len}")).into());
                    }
                }
            }
            Op::If(condition, then, otherwise) => {
                if self.test(condition)? {
                    self.eval(then)?
                } else {
                    self.eval(otherwise)?
                }
            }
            Op::Negate(of) => match self.eval(of)? {
                Value::Int(i) => Value::Int(i.checked_neg().ok_or_else(overflow)?),
                Value::Double(d) => Value::Double(-d),
                other => other,
            },
            Op::Arithmetic(op, a, b) => {
                let (a, b) = (self.eval(a)?, self.eval(b)?);
                self.arithmetic(*op, a, b)?
            }
            Op::InList(a, list) => {
                let a = self.eval(a)?;
                let list = self.list(list)?;
                let mut found = false;
                for item in list.iter() {
                    self.spend(1)?;
                    if self.equal(&a, item)? {
                        found = true;
                        break;
                    }
                }
                Value::Bool(found)
            }
            Op::Regex(search, of, pattern) => {
                let text = self.text(of)?;
                self.spend(text.len() * pattern.weight as usize / 16)?;
                match search {
                    Search::Matches => Value::Bool(pattern.regex.is_match(&text)),
                    Search::Find => {
                        let found = pattern.regex.find(&text).map_or("", |m| m.as_str());
                        self.spend_text(found.len())?;
                        Value::Text(Cow::Owned(found.to_owned()))
                    }
                    Search::FindAll(limit) => {
                        let mut list = Vec::new();
                        for found in pattern.regex.find_iter(&text).take(*limit) {
                            self.spend(1 + found.len() / 16)?;
                            list.push(Value::Text(Cow::Owned(found.as_str().to_owned())));
                        }
                        Value::List(list.into())
                    }
                }
            }
            Op::Calendar(part, of, zone) => {
                let Value::Time(time) = self.eval(of)? else { return Err(mistyped().into()) };
                self.spend(2)?;
                Value::Int(calendar(*part, time, zone))
            }
            Op::Loop(kind, range, condition, body) => {
                self.run_loop(*kind, range, condition, body.as_deref())?
            }
            _ => return Err(mistyped().into()),
        })
    }

    fn variable(&self, variable: Variable) -> Result<Value<'a>, Fail> {
        let scope = &self.scope;
        let missing = |what| Fail::Says(format!("there is no {what} here"));
        Ok(match variable {
            Variable::Pod => Value::Object(Obj::Pod(scope.pod.ok_or_else(|| missing("pod"))?)),
            Variable::Container => {
                Value::Object(Obj::Container(scope.container.ok_or_else(|| missing("container"))?))
            }
            Variable::Finding => {
                Value::Object(Obj::Finding(scope.finding.ok_or_else(|| missing("finding"))?))
            }
            Variable::Events => {
                Value::List(scope.events.iter().map(|e| Value::Object(Obj::Event(e))).collect())
            }
            Variable::Now => Value::Time(scope.now),
        })
    }

    fn field(&mut self, of: &'a Node, field: &Field) -> Result<Option<Value<'a>>, Stop> {
        let Value::Object(object) = self.eval(of)? else { return Err(mistyped().into()) };
        let value = (field.get)(&object);
        if let Some(Value::List(list)) = &value {
            self.spend(list.len())?;
        }
        Ok(value)
    }

    fn key(&mut self, of: &'a Node, key: &'a Node) -> Result<(Option<Value<'a>>, Cow<'a, str>), Stop> {
        let Value::Map(map) = self.eval(of)? else { return Err(mistyped().into()) };
        let key = self.text(key)?;
        self.spend(map.len() / 4)?;
        Ok((map.get(&key), key))
    }

    fn text(&mut self, node: &'a Node) -> Result<Cow<'a, str>, Stop> {
        match self.eval(node)? {
            Value::Text(text) => Ok(text),
            _ => Err(mistyped().into()),
        }
    }

    fn int(&mut self, node: &'a Node) -> Result<i64, Stop> {
        match self.eval(node)? {
            Value::Int(i) => Ok(i),
            _ => Err(mistyped().into()),
        }
    }

    fn list(&mut self, node: &'a Node) -> Result<Rc<[Value<'a>]>, Stop> {
        match self.eval(node)? {
            Value::List(list) => Ok(list),
            Value::Map(map) => {
                self.spend(map.len())?;
                Ok(map.keys())
            }
            _ => Err(mistyped().into()),
        }
    }

    /// Whether one of two conditions is `wanted` (for `&&`: whether one is false). In CEL one side that decides makes up
    /// for a failure of the other, whichever comes first.
    fn either(&mut self, a: &'a Node, b: &'a Node, wanted: bool) -> Result<bool, Stop> {
        let first = match self.test(a) {
            Ok(value) if value == wanted => return Ok(true),
            Ok(_) => None,
            Err(failure) if failure.exhausted => return Err(failure.into()),
            Err(failure) => Some(failure),
        };
        let second = self.test(b)? == wanted;
        match first {
            Some(failure) if !second => Err(failure.into()),
            _ => Ok(second),
        }
    }

    fn run_loop(
        &mut self,
        kind: Loop,
        range: &'a Node,
        condition: &'a Node,
        body: Option<&'a Node>,
    ) -> Result<Value<'a>, Stop> {
        let items = self.list(range)?;
        let mut list = Vec::new();
        let mut found = 0;
        let mut failed = None;
        for item in items.iter() {
            self.locals.push(item.clone());
            let result = match kind {
                Loop::Map if body.is_none() => self.eval(condition).map(|value| {
                    list.push(value);
                    false
                }),
                _ => self.test(condition),
            };
            let result = match (result, kind, body) {
                (Ok(true), Loop::Map, Some(body)) => self.eval(body).map(|value| {
                    list.push(value);
                    false
                }),
                (result, ..) => result,
            };
            self.locals.pop();
            match (kind, result) {
                (_, Err(failure)) if failure.exhausted => return Err(failure.into()),
                (Loop::All, Ok(false)) => return Ok(Value::Bool(false)),
                (Loop::Exists, Ok(true)) => return Ok(Value::Bool(true)),
                (Loop::All | Loop::Exists, Err(failure)) => {
                    failed.get_or_insert(failure);
                }
                (_, Err(failure)) => return Err(failure.into()),
                (Loop::ExistsOne, Ok(true)) => found += 1,
                (Loop::Filter, Ok(true)) => list.push(item.clone()),
                _ => {}
            }
        }
        if let Some(failure) = failed {
            return Err(failure.into());
        }
        Ok(match kind {
            Loop::All => Value::Bool(true),
            Loop::Exists => Value::Bool(false),
            Loop::ExistsOne => Value::Bool(found == 1),
            Loop::Filter | Loop::Map => Value::List(list.into()),
        })
    }

    /// The result of an operator.
    pub(super) fn arithmetic(
        &mut self,
        op: Arithmetic,
        a: Value<'a>,
        b: Value<'a>,
    ) -> Result<Value<'a>, Fail> {
        use Arithmetic::{Add, Divide, Modulo, Multiply, Subtract};
        Ok(match (op, a, b) {
            (_, Value::Int(a), Value::Int(b)) => {
                if b == 0 && matches!(op, Divide | Modulo) {
                    return fail("division by zero");
                }
                let result = match op {
                    Add => a.checked_add(b),
                    Subtract => a.checked_sub(b),
                    Multiply => a.checked_mul(b),
                    Divide => a.checked_div(b),
                    Modulo => a.checked_rem(b),
                };
                Value::Int(result.ok_or_else(overflow)?)
            }
            (_, Value::Double(a), Value::Double(b)) => Value::Double(match op {
                Add => a + b,
                Subtract => a - b,
                Multiply => a * b,
                Divide => a / b,
                Modulo => return fail("% is for int"),
            }),
            (Add, Value::Text(a), Value::Text(b)) => {
                self.spend_new_text(a.len() + b.len())?;
                Value::Text(Cow::Owned(format!("{a}{b}")))
            }
            (Add, Value::List(a), Value::List(b)) => {
                self.spend(a.len() + b.len())?;
                Value::List(a.iter().chain(b.iter()).cloned().collect())
            }
            (Add, Value::Duration(a), Value::Duration(b)) => {
                Value::Duration(a.checked_add(b).ok_or_else(overflow)?)
            }
            (Subtract, Value::Duration(a), Value::Duration(b)) => {
                Value::Duration(a.checked_sub(b).ok_or_else(overflow)?)
            }
            (Add, Value::Time(t), Value::Duration(d)) | (Add, Value::Duration(d), Value::Time(t)) => {
                Value::Time(t.checked_add(d).map_err(|_| overflow())?)
            }
            (Subtract, Value::Time(t), Value::Duration(d)) => {
                Value::Time(t.checked_sub(d).map_err(|_| overflow())?)
            }
            (Subtract, Value::Time(a), Value::Time(b)) => Value::Duration(a.duration_since(b)),
            _ => return Err(mistyped()),
        })
    }

    /// The order of two values; none if there is none (NaN).
    pub(super) fn order(&mut self, a: &Value<'a>, b: &Value<'a>) -> Result<Option<Ordering>, Fail> {
        Ok(match (a, b) {
            (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Value::Double(a), Value::Double(b)) | (Value::Quantity(a), Value::Quantity(b)) => {
                a.partial_cmp(b)
            }
            (Value::Text(a), Value::Text(b)) => {
                self.spend_text(a.len().min(b.len()))?;
                Some(a.cmp(b))
            }
            (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            _ => return Err(mistyped()),
        })
    }

    /// Whether two values are equal.
    pub(super) fn equal(&mut self, a: &Value<'a>, b: &Value<'a>) -> Result<bool, Fail> {
        match (a, b) {
            (Value::List(a), Value::List(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (a, b) in a.iter().zip(b.iter()) {
                    self.spend(1)?;
                    if !self.equal(a, b)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Map(a), Value::Map(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for key in a.keys().iter() {
                    self.spend(1 + a.len() / 4 + b.len() / 4)?;
                    let Value::Text(key) = key else { return Err(mistyped()) };
                    let same = match (a.get(key), b.get(key)) {
                        (Some(a), Some(b)) => self.equal(&a, &b)?,
                        _ => false,
                    };
                    if !same {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => Ok(self.order(a, b)? == Some(Ordering::Equal)),
        }
    }
}

fn overflow() -> Fail {
    Fail::Says("the result is out of range".into())
}

/// Cannot happen to an expression that `check` has passed; an error rather than a panic all the same.
pub(super) fn mistyped() -> Fail {
    Fail::Says("a value is not of the type that was checked".into())
}

/// A failure that may know its place already.
enum Stop {
    Here(Fail),
    There(Failure),
}

impl Stop {
    fn at(self, node: &Node) -> Failure {
        match self {
            Self::There(failure) => failure,
            Self::Here(Fail::Says(message)) => Failure { at: node.at, message, exhausted: false },
            Self::Here(Fail::Exhausted) => Failure {
                at: node.at,
                message: format!(
                    "takes too many steps: for one pod, one rule may take {STEPS_PER_RULE} and all of them {STEPS_PER_POD}"
                ),
                exhausted: true,
            },
        }
    }
}

impl From<Fail> for Stop {
    fn from(fail: Fail) -> Self {
        Self::Here(fail)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::There(failure)
    }
}

/// As CEL counts: months, days of the month (`getDayOfMonth`), of the week (from Sunday) and of the year from 0,
/// `getDate` from 1.
fn calendar(part: Part, time: Timestamp, zone: &TimeZone) -> i64 {
    let t = zone.to_datetime(time);
    match part {
        Part::FullYear => t.year().into(),
        Part::Month => i64::from(t.month()) - 1,
        Part::Date => t.day().into(),
        Part::DayOfMonth => i64::from(t.day()) - 1,
        Part::DayOfWeek => t.weekday().to_sunday_zero_offset().into(),
        Part::DayOfYear => i64::from(t.day_of_year()) - 1,
        Part::Hours => t.hour().into(),
        Part::Minutes => t.minute().into(),
        Part::Seconds => t.second().into(),
        Part::Milliseconds => t.millisecond().into(),
    }
}
