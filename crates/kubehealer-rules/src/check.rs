//! Turns the text of an expression into one that is known to be well typed, or says what is wrong with it and where.
//!
//! The grammar is the `cel` crate's. Its parser recurses, so length and nesting are limited before it sees a text, and it
//! runs on a thread of its own with a large stack (see `on_a_large_stack`). Its interpreter is not used: it finds type
//! errors only when it meets them, and has no limit on time or memory.
//!
//! Must not know rules and files: a mistake is placed by the byte of its expression.

use cel::common::ast::{EntryExpr, Expr, LiteralValue, SourceInfo, operators};
use cel::{Env, IdedExpr};
use jiff::tz::{Offset, TimeZone};
use regex::RegexBuilder;

use super::eval::{Arithmetic, Comparison, Loop, Node, Op, Part, Pattern, Search, Variable};
use super::functions::{self, FUNCTIONS, Function, is_comparable, is_ordered};
use super::value::{Field, Kind, Type};

/// Longer expressions are refused, in bytes.
pub(super) const MAX_LENGTH: usize = 4096;
/// Brackets within brackets, and choices (`? :`) in all.
const MAX_BRACKETS: usize = 24;
const MAX_CHOICES: usize = 32;
/// Operations within operations.
const MAX_DEPTH: usize = 64;
/// Loops within loops.
const MAX_LOOPS: usize = 3;
const MAX_PATTERN: usize = 512;
/// Of the parser's thread. The parser was measured to need up to a few KB a nested operation; only what is touched is used.
const STACK: usize = 64 << 20;

/// Something is wrong at a byte of the expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) message: String,
}

fn wrong<T>(at: usize, message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { at, message: message.into() })
}

/// Which variables an expression looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Uses {
    pub(super) pod: bool,
    pub(super) container: bool,
    pub(super) finding: bool,
    pub(super) events: bool,
    /// Its value may change while nothing happens.
    pub(super) now: bool,
    /// The same, of a container that was restarted.
    pub(super) restarts: bool,
}

impl Uses {
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            pod: self.pod || other.pod,
            container: self.container || other.container,
            finding: self.finding || other.finding,
            events: self.events || other.events,
            now: self.now || other.now,
            restarts: self.restarts || other.restarts,
        }
    }
}

/// A checked expression.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) node: Node,
    pub(super) of: Type,
    pub(super) uses: Uses,
}

/// Runs the loading of rules where the parser has stack enough.
pub(super) fn on_a_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("rules".into())
            .stack_size(STACK)
            .spawn_scoped(scope, work)
            .map_err(|error| format!("cannot start a thread to read the rules: {error}"))?
            .join()
            .map_err(|_| "reading the rules failed: this is a bug in KubeHealer, please report it".into())
    })
}

/// Checks an expression.
pub(super) fn check(source: &str) -> Result<Checked, Wrong> {
    limit(source)?;
    // Without macros, so that `all`, `exists` and their like come as the calls that they were written as.
    let compiled = std::panic::catch_unwind(|| Env::default().with_optional_support(false).compile(source));
    let program = match compiled {
        Ok(Ok(program)) => program,
        Ok(Err(errors)) => {
            let Some(first) = errors.errors.into_iter().min_by_key(|e| e.pos) else {
                return wrong(0, "not a valid expression");
            };
            return wrong(offset(source, first.pos), readable(&first.msg));
        }
        Err(_) => return wrong(0, "the CEL parser failed on this expression: write it another way"),
    };
    let mut checker =
        Checker { source, info: program.source_info(), uses: Uses::default(), locals: Vec::new(), depth: 0 };
    let (node, of) = checker.check(program.expression())?;
    Ok(Checked { node, of, uses: checker.uses })
}

/// Checks an expression that must be true or false.
pub(super) fn check_condition(source: &str) -> Result<Checked, Wrong> {
    let checked = check(source)?;
    if checked.of != Type::Bool {
        return wrong(0, format!("a condition must be true or false; this is of type {}", checked.of));
    }
    Ok(checked)
}

/// Refuses what would take the parser long or deep. Knows of texts and comments only what it needs to.
fn limit(source: &str) -> Result<(), Wrong> {
    if source.trim().is_empty() {
        return wrong(0, "the expression is empty");
    }
    if source.len() > MAX_LENGTH {
        return wrong(
            0,
            format!("the expression has {} bytes; at most {MAX_LENGTH} are allowed", source.len()),
        );
    }
    let (mut open, mut choices, mut signs) = (0usize, 0usize, 0usize);
    let mut quote: Option<u8> = None;
    let mut escaped = false;
    let bytes = source.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        if byte < b' ' && !matches!(byte, b'\n' | b'\t' | b'\r') || byte == 0x7f {
            return wrong(at, "control character: write it as an escape in a string");
        }
        if let Some(q) = quote {
            if escaped {
                escaped = false;
            } else if byte == b'\\' {
                escaped = true;
            } else if byte == q || byte == b'\n' {
                quote = None;
            }
            continue;
        }
        signs = if matches!(byte, b'!' | b'-') { signs + 1 } else { 0 };
        if signs > 8 {
            return wrong(at, "too many operators in a row");
        }
        match byte {
            b'"' | b'\'' => quote = Some(byte),
            b'(' | b'[' | b'{' => {
                open += 1;
                if open > MAX_BRACKETS {
                    return wrong(at, format!("brackets are nested more than {MAX_BRACKETS} deep"));
                }
            }
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            b'?' => {
                choices += 1;
                if choices > MAX_CHOICES {
                    return wrong(at, format!("more than {MAX_CHOICES} choices (? :) in one expression"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The byte that a line and column (both from 1) of the parser's mean.
fn offset(source: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line).unwrap_or(1).max(1);
    let column = usize::try_from(column).unwrap_or(1).max(1);
    let start: usize = source.split_inclusive('\n').take(line - 1).map(str::len).sum();
    (start + column - 1).min(source.trim_end().len())
}

/// The parser's words, without the list of all tokens that could have stood there.
fn readable(message: &str) -> String {
    let text = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let quoted = || {
        let start = text.find('\'')? + 1;
        let rest = text.get(start..)?;
        let end = rest.find("' expecting").or_else(|| rest.rfind('\''))?;
        rest.get(..end)
    };
    if let Some((missing, _)) = text.strip_prefix("missing ").and_then(|rest| rest.split_once(" at '<EOF>'"))
    {
        return format!("the expression ends where {missing} is expected");
    }
    let expecting = text.split(" expecting ").nth(1).filter(|e| !e.starts_with('{')).unwrap_or_default();
    match quoted() {
        Some("<EOF>") if expecting.is_empty() => "the expression ends too early".into(),
        Some("<EOF>") => format!("the expression ends where {expecting} is expected"),
        Some(found) if expecting == "<EOF>" => {
            format!("{found:?} is not expected after the end of the expression")
        }
        Some(found) if text.starts_with("token recognition error") => match found.trim() {
            "=" => "a single = is not an operator: write ==".into(),
            "&" => "a single & is not an operator: write &&".into(),
            "|" => "a single | is not an operator: write ||".into(),
            q if q.starts_with(['"', '\'']) => {
                "this string has no closing quote, or an escape that CEL does not know (write \\\\ for a backslash)"
                    .into()
            }
            found => format!("{found:?} is not valid here"),
        },
        Some(found)
            if text.starts_with("mismatched")
                || text.starts_with("extraneous")
                || text.starts_with("no viable") =>
        {
            format!("{found:?} is not expected here")
        }
        _ => text.to_owned(),
    }
}

struct Checker<'s> {
    source: &'s str,
    info: &'s SourceInfo,
    uses: Uses,
    locals: Vec<(String, Type)>,
    depth: usize,
}

impl<'s> Checker<'s> {
    /// Where an expression is written, as a reader would point at it.
    fn place(&self, expr: &IdedExpr) -> usize {
        let at = self.info.offset_for(expr.id).map_or(0, |(start, _)| start as usize).min(self.source.len());
        match &expr.expr {
            // The parser points at the dot, and at the bracket after a function's name.
            Expr::Select(_) => {
                let rest = self.source.get(at..).unwrap_or_default();
                let skipped = rest.strip_prefix('.').map_or(0, |r| 1 + (r.len() - r.trim_start().len()));
                at + skipped
            }
            Expr::Call(call) if is_name(&call.func_name) => {
                let before = self.source.get(..at).unwrap_or_default().trim_end();
                before.strip_suffix(call.func_name.as_str()).map_or(at, str::len)
            }
            _ => at,
        }
    }

    /// Where an expression begins: where to point at when all of it is meant.
    fn start(&self, expr: &IdedExpr) -> usize {
        match &expr.expr {
            Expr::Select(select) => self.start(&select.operand),
            Expr::Call(call) => match (&call.target, call.args.first()) {
                (Some(target), _) => self.start(target),
                (None, Some(first)) if !is_name(&call.func_name) => self.start(first).min(self.place(expr)),
                _ => self.place(expr),
            },
            _ => self.place(expr),
        }
    }

    fn check(&mut self, expr: &IdedExpr) -> Result<(Node, Type), Wrong> {
        let at = self.place(expr);
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return wrong(at, format!("operations are nested more than {MAX_DEPTH} deep"));
        }
        let (op, of) = self.op(expr, at)?;
        self.depth -= 1;
        Ok((Node { at: u32::try_from(at).unwrap_or(u32::MAX), op }, of))
    }

    fn boxed(&mut self, expr: &IdedExpr) -> Result<(Box<Node>, Type), Wrong> {
        self.check(expr).map(|(node, of)| (Box::new(node), of))
    }

    fn op(&mut self, expr: &IdedExpr, at: usize) -> Result<(Op, Type), Wrong> {
        match &expr.expr {
            Expr::Literal(literal) => self.literal(literal, at),
            Expr::Ident(name) => self.ident(name, at),
            Expr::Select(select) => {
                let (operand, of) = self.boxed(&select.operand)?;
                match of {
                    Type::Object(kind) => {
                        let field = field(kind, &select.field, at)?;
                        Ok((Op::Get(operand, field), (field.of)()))
                    }
                    Type::Map(of) => Ok((Op::Key(operand, text_node(at, &select.field)), *of)),
                    other => wrong(at, format!("{other} has no field {:?}", select.field)),
                }
            }
            Expr::List(list) => self.list(&list.elements),
            Expr::Map(map) => {
                let mut entries = Vec::new();
                let mut of = Type::Any;
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else {
                        return wrong(at, "objects cannot be created here");
                    };
                    let key_at = self.start(&entry.key);
                    let (key, key_of) = self.check(&entry.key)?;
                    if key_of != Type::Text {
                        return wrong(key_at, format!("the keys of a map are strings; this is {key_of}"));
                    }
                    let value_at = self.start(&entry.value);
                    let (value, value_of) = self.check(&entry.value)?;
                    of = join(of, value_of, value_at, "the values of a map")?;
                    entries.push((key, value));
                }
                Ok((Op::Map(entries), Type::Map(Box::new(of))))
            }
            Expr::Struct(made) => {
                wrong(at, format!("objects such as {} cannot be created here", made.type_name))
            }
            Expr::Call(call) => match &call.target {
                Some(target) => self.method(target, &call.func_name, &call.args, at),
                None => self.call(&call.func_name, &call.args, at),
            },
            Expr::Comprehension(_) | Expr::Unspecified => wrong(at, "not a valid expression"),
        }
    }

    fn literal(&self, literal: &LiteralValue, at: usize) -> Result<(Op, Type), Wrong> {
        Ok(match literal {
            LiteralValue::Boolean(b) => (Op::Bool(*b.inner()), Type::Bool),
            LiteralValue::Int(i) => (Op::Int(*i.inner()), Type::Int),
            LiteralValue::Double(d) => (Op::Double(*d.inner()), Type::Double),
            LiteralValue::String(s) => (Op::Text(s.inner().into()), Type::Text),
            LiteralValue::UInt(i) => {
                return wrong(at, format!("unsigned numbers are not supported: write {}", i.inner()));
            }
            LiteralValue::Bytes(_) => return wrong(at, "bytes are not supported: write a string"),
            LiteralValue::Null => return wrong(at, "null is not supported: has(x) tells whether x is set"),
        })
    }

    fn ident(&mut self, name: &str, at: usize) -> Result<(Op, Type), Wrong> {
        if let Some(i) = self.locals.iter().rposition(|(local, _)| local == name) {
            let of = self.locals.get(i).map_or(Type::Any, |(_, of)| of.clone());
            return Ok((Op::Local(i), of));
        }
        let (variable, of) = match name {
            "pod" => {
                self.uses.pod = true;
                (Variable::Pod, Type::Object(Kind::Pod))
            }
            "container" => {
                self.uses.container = true;
                (Variable::Container, Type::Object(Kind::Container))
            }
            "finding" => {
                self.uses.finding = true;
                (Variable::Finding, Type::Object(Kind::Finding))
            }
            "events" => {
                self.uses.events = true;
                (Variable::Events, Type::list(Type::Object(Kind::Event)))
            }
            "now" => {
                self.uses.now = true;
                (Variable::Now, Type::Time)
            }
            "null" => return wrong(at, "null is not supported: has(x) tells whether x is set"),
            _ => {
                let known =
                    VARIABLES.iter().copied().chain(self.locals.iter().map(|(name, _)| name.as_str()));
                return wrong(at, format!("unknown variable {name:?}{}", suggest(name, known)));
            }
        };
        Ok((Op::Variable(variable), of))
    }

    fn list(&mut self, elements: &[IdedExpr]) -> Result<(Op, Type), Wrong> {
        let mut of = Type::Any;
        let mut nodes = Vec::new();
        for element in elements {
            let at = self.start(element);
            let (node, element_of) = self.check(element)?;
            of = join(of, element_of, at, "the items of a list")?;
            nodes.push(node);
        }
        Ok((Op::List(nodes), Type::list(of)))
    }

    fn call(&mut self, name: &str, args: &[IdedExpr], at: usize) -> Result<(Op, Type), Wrong> {
        match (name, args) {
            (operators::LOGICAL_AND, [a, b]) => {
                Ok((Op::And(self.condition(a, "&&")?, self.condition(b, "&&")?), Type::Bool))
            }
            (operators::LOGICAL_OR, [a, b]) => {
                Ok((Op::Or(self.condition(a, "||")?, self.condition(b, "||")?), Type::Bool))
            }
            (operators::LOGICAL_NOT, [a]) => Ok((Op::Not(self.condition(a, "!")?), Type::Bool)),
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                let condition = self.condition(condition, "?")?;
                let (then, then_of) = self.boxed(then)?;
                let otherwise_at = self.start(otherwise);
                let (otherwise, otherwise_of) = self.boxed(otherwise)?;
                let of = join(then_of, otherwise_of, otherwise_at, "the two sides of a choice (? :)")?;
                Ok((Op::If(condition, then, otherwise), of))
            }
            (operators::NEGATE, [a]) => {
                let (a, of) = self.boxed(a)?;
                match of {
                    Type::Int | Type::Double => Ok((Op::Negate(a), of)),
                    other => wrong(at, format!("- is for numbers; this is {other}")),
                }
            }
            (operators::EQUALS, [a, b]) => self.equal(a, b, at, "=="),
            (operators::NOT_EQUALS, [a, b]) => {
                let (equal, of) = self.equal(a, b, at, "!=")?;
                Ok((Op::Not(Box::new(Node { at: u32::try_from(at).unwrap_or(u32::MAX), op: equal })), of))
            }
            (operators::LESS, [a, b]) => self.compare(Comparison::Less, a, b, at, "<"),
            (operators::LESS_EQUALS, [a, b]) => self.compare(Comparison::LessOrEqual, a, b, at, "<="),
            (operators::GREATER, [a, b]) => self.compare(Comparison::Greater, a, b, at, ">"),
            (operators::GREATER_EQUALS, [a, b]) => self.compare(Comparison::GreaterOrEqual, a, b, at, ">="),
            (operators::ADD, [a, b]) => self.arithmetic(Arithmetic::Add, a, b, at, "+"),
            (operators::SUBSTRACT, [a, b]) => self.arithmetic(Arithmetic::Subtract, a, b, at, "-"),
            (operators::MULTIPLY, [a, b]) => self.arithmetic(Arithmetic::Multiply, a, b, at, "*"),
            (operators::DIVIDE, [a, b]) => self.arithmetic(Arithmetic::Divide, a, b, at, "/"),
            (operators::MODULO, [a, b]) => self.arithmetic(Arithmetic::Modulo, a, b, at, "%"),
            (operators::IN, [a, b]) => self.within(a, b, at),
            (operators::INDEX, [of, index]) => self.index(of, index),
            (operators::HAS, [of]) => self.has(of, at),
            (operators::HAS, _) => wrong(at, "has() takes one field, such as has(container.state.running)"),
            ("matches", [text, pattern]) => self.regex(Search::Matches, text, pattern, at),
            ("dyn" | "type", _) => {
                wrong(at, format!("{name}() is not available: every value here has a known type"))
            }
            _ if !is_name(name) => wrong(at, format!("{name} cannot be used here")),
            _ => {
                let checked = args.iter().map(|arg| self.check(arg)).collect::<Result<Vec<_>, _>>()?;
                self.function(name, false, checked, at)
            }
        }
    }

    fn method(
        &mut self,
        target: &IdedExpr,
        name: &str,
        args: &[IdedExpr],
        at: usize,
    ) -> Result<(Op, Type), Wrong> {
        let kind = match (name, args.len()) {
            ("all", 2) => Some(Loop::All),
            ("exists", 2) => Some(Loop::Exists),
            ("exists_one" | "existsOne", 2) => Some(Loop::ExistsOne),
            ("filter", 2) => Some(Loop::Filter),
            ("map", 2 | 3) => Some(Loop::Map),
            ("all" | "exists" | "exists_one" | "existsOne" | "filter" | "map", _) => {
                return wrong(
                    at,
                    format!("{name}() takes a variable and an expression, such as {name}(x, x == 1)"),
                );
            }
            _ => None,
        };
        if let (Some(kind), [variable, condition, rest @ ..]) = (kind, args) {
            return self.each(kind, target, variable, condition, rest.first(), at);
        }
        match (name, args) {
            ("matches", [pattern]) => return self.regex(Search::Matches, target, pattern, at),
            ("find", [pattern]) => return self.regex(Search::Find, target, pattern, at),
            ("findAll", [pattern]) => return self.regex(Search::FindAll(usize::MAX), target, pattern, at),
            ("findAll", [pattern, limit]) => {
                let Expr::Literal(LiteralValue::Int(limit)) = &limit.expr else {
                    return wrong(self.start(limit), "the limit must be written out as a number");
                };
                let limit = usize::try_from(*limit.inner()).unwrap_or(usize::MAX);
                return self.regex(Search::FindAll(limit), target, pattern, at);
            }
            _ => {}
        }
        let (target, target_of) = self.check(target)?;
        if target_of == Type::Time
            && let Some(part) = part(name)
        {
            let zone = match args {
                [] => TimeZone::UTC,
                [zone] => self.zone(zone)?,
                _ => return wrong(at, format!("{name}() takes a time zone or nothing")),
            };
            return Ok((Op::Calendar(part, Box::new(target), zone), Type::Int));
        }
        let mut checked = vec![(target, target_of)];
        for arg in args {
            checked.push(self.check(arg)?);
        }
        self.function(name, true, checked, at)
    }

    fn function(
        &mut self,
        name: &str,
        method: bool,
        checked: Vec<(Node, Type)>,
        at: usize,
    ) -> Result<(Op, Type), Wrong> {
        let (nodes, types): (Vec<Node>, Vec<Type>) = checked.into_iter().unzip();
        let of_name: Vec<&'static Function> =
            FUNCTIONS.iter().filter(|f| f.name == name && f.method == method).collect();
        let first = types.first();
        let found = of_name.iter().find(|f| {
            f.takes.len() == types.len()
                && f.takes
                    .iter()
                    .zip(&types)
                    .all(|(takes, given)| takes.fits(given, first.unwrap_or(&Type::Any)))
        });
        let Some(function) = found else {
            return wrong(at, self.no_such_function(name, method, &of_name, &types));
        };
        // What is written out is computed now, so that a mistake in it is found now.
        if let [Node { op: Op::Text(text), .. }] = nodes.as_slice() {
            let constant = match (name, method) {
                ("duration", false) => {
                    Some(functions::duration(text).map(|d| (Op::Duration(d), Type::Duration)))
                }
                ("timestamp", false) => Some(functions::timestamp(text).map(|t| (Op::Time(t), Type::Time))),
                ("quantity", false) => {
                    Some(functions::parse_quantity(text).map(|q| (Op::Quantity(q), Type::Quantity)))
                }
                _ => None,
            };
            if let Some(constant) = constant {
                let place = nodes.first().map_or(at, |n| n.at as usize);
                return constant.or_else(|message| wrong(place, message));
            }
        }
        if function.name == "restartsWithin" {
            match nodes.first() {
                Some(Node { op: Op::Variable(Variable::Container), .. }) => self.uses.restarts = true,
                _ => self.uses.now = true,
            }
        }
        Ok((Op::Call(function, nodes), function.gives.of(first)))
    }

    fn no_such_function(&self, name: &str, method: bool, forms: &[&Function], types: &[Type]) -> String {
        if !forms.is_empty() {
            let forms: Vec<_> = forms.iter().map(ToString::to_string).collect();
            let given: Vec<_> = types.iter().map(ToString::to_string).collect();
            let call = match given.split_first() {
                Some((first, rest)) if method => format!("{first}.{name}({})", rest.join(", ")),
                _ => format!("{name}({})", given.join(", ")),
            };
            return format!("{call} does not exist; there is {}", forms.join(", "));
        }
        if let Some(other) = FUNCTIONS.iter().find(|f| f.name == name) {
            return format!("{name} is written as {other}");
        }
        if method && part(name).is_some() {
            return format!(
                "{name}() is for timestamps and durations; this is {}",
                types.first().unwrap_or(&Type::Any)
            );
        }
        const SPECIAL: &[&str] = &[
            "has",
            "all",
            "exists",
            "exists_one",
            "filter",
            "map",
            "matches",
            "find",
            "findAll",
            "getHours",
            "getDayOfWeek",
        ];
        let known =
            FUNCTIONS.iter().filter(|f| f.method == method).map(|f| f.name).chain(SPECIAL.iter().copied());
        format!("unknown function {name:?}{}", suggest(name, known))
    }

    fn condition(&mut self, expr: &IdedExpr, what: &str) -> Result<Box<Node>, Wrong> {
        let (node, of) = self.boxed(expr)?;
        let at = self.start(expr);
        if of != Type::Bool {
            return wrong(at, format!("{what} is for conditions; this is {of}"));
        }
        Ok(node)
    }

    fn equal(&mut self, a: &IdedExpr, b: &IdedExpr, at: usize, what: &str) -> Result<(Op, Type), Wrong> {
        let (a, a_of) = self.boxed(a)?;
        let (b, b_of) = self.boxed(b)?;
        if !a_of.fits(&b_of) {
            return wrong(at, format!("{what} compares {a_of} with {b_of}{}", convert(&a_of, &b_of)));
        }
        if !is_comparable(&a_of) || !is_comparable(&b_of) {
            return wrong(at, format!("{what} is not for objects such as {a_of}: compare their fields"));
        }
        known_word(&a, &b)?;
        known_word(&b, &a)?;
        Ok((Op::Equal(a, b), Type::Bool))
    }

    fn compare(
        &mut self,
        op: Comparison,
        a: &IdedExpr,
        b: &IdedExpr,
        at: usize,
        what: &str,
    ) -> Result<(Op, Type), Wrong> {
        let (a, a_of) = self.boxed(a)?;
        let (b, b_of) = self.boxed(b)?;
        if a_of == Type::Quantity && b_of == Type::Quantity {
            return wrong(
                at,
                format!("{what} is not for quantities: write a.isLessThan(b) or a.isGreaterThan(b)"),
            );
        }
        if !a_of.fits(&b_of) {
            return wrong(at, format!("{what} compares {a_of} with {b_of}{}", convert(&a_of, &b_of)));
        }
        if !is_ordered(&a_of) || !is_ordered(&b_of) {
            return wrong(at, format!("{what} is not for {a_of}"));
        }
        Ok((Op::Compare(op, a, b), Type::Bool))
    }

    fn arithmetic(
        &mut self,
        op: Arithmetic,
        a: &IdedExpr,
        b: &IdedExpr,
        at: usize,
        what: &str,
    ) -> Result<(Op, Type), Wrong> {
        use Arithmetic::{Add, Modulo, Subtract};
        let (a, a_of) = self.boxed(a)?;
        let (b, b_of) = self.boxed(b)?;
        let of = match (op, &a_of, &b_of) {
            (_, Type::Int, Type::Int) => Type::Int,
            (Modulo, ..) => return wrong(at, format!("% is for int; this is {a_of} % {b_of}")),
            (_, Type::Double, Type::Double) => Type::Double,
            (Add, Type::Text, Type::Text) => Type::Text,
            (Add, Type::List(x), Type::List(y)) if x.fits(y) => {
                Type::list(if **x == Type::Any { (**y).clone() } else { (**x).clone() })
            }
            (Add | Subtract, Type::Duration, Type::Duration) => Type::Duration,
            (Add | Subtract, Type::Time, Type::Duration) | (Add, Type::Duration, Type::Time) => Type::Time,
            (Subtract, Type::Time, Type::Time) => Type::Duration,
            _ => return wrong(at, format!("{a_of} {what} {b_of} is not defined{}", convert(&a_of, &b_of))),
        };
        Ok((Op::Arithmetic(op, a, b), of))
    }

    fn within(&mut self, a: &IdedExpr, b: &IdedExpr, at: usize) -> Result<(Op, Type), Wrong> {
        let (a, a_of) = self.boxed(a)?;
        let (b, b_of) = self.boxed(b)?;
        match &b_of {
            Type::List(of) if of.fits(&a_of) && is_comparable(&a_of) && is_comparable(of) => {
                if let Op::List(items) = &b.op {
                    let texts: Option<Box<[Box<str>]>> = items
                        .iter()
                        .map(|item| match &item.op {
                            Op::Text(text) => Some(text.clone()),
                            _ => None,
                        })
                        .collect();
                    for item in items {
                        known_word(&a, item)?;
                    }
                    if let Some(texts) = texts {
                        return Ok((Op::InTexts(a, texts), Type::Bool));
                    }
                }
                Ok((Op::InList(a, b), Type::Bool))
            }
            Type::List(of) => wrong(at, format!("in looks for {a_of} in a list of {of}")),
            Type::Map(_) if a_of == Type::Text => Ok((Op::HasKey(b, a), Type::Bool)),
            Type::Map(_) => wrong(at, format!("the keys of a map are strings; this is {a_of}")),
            other => wrong(
                at,
                format!(
                    "in is for lists and maps; this is {other}: for a part of a string write a.contains(b)"
                ),
            ),
        }
    }

    fn index(&mut self, of: &IdedExpr, index: &IdedExpr) -> Result<(Op, Type), Wrong> {
        let of_at = self.start(of);
        let (of_node, of_type) = self.boxed(of)?;
        let at = self.start(index);
        let (index, index_type) = self.boxed(index)?;
        match (of_type, index_type) {
            (Type::List(of), Type::Int) => Ok((Op::Item(of_node, index), *of)),
            (Type::List(_), other) => wrong(at, format!("a list index must be an int; this is {other}")),
            (Type::Map(of), Type::Text) => Ok((Op::Key(of_node, index), *of)),
            (Type::Map(_), other) => wrong(at, format!("the keys of a map are strings; this is {other}")),
            (other, _) => wrong(of_at, format!("[ ] is for lists and maps; this is {other}")),
        }
    }

    fn has(&mut self, of: &IdedExpr, at: usize) -> Result<(Op, Type), Wrong> {
        let Expr::Select(select) = &of.expr else {
            return wrong(at, "has() takes a field, such as has(container.state.running)");
        };
        let field_at = self.place(of);
        let (operand, operand_of) = self.boxed(&select.operand)?;
        match operand_of {
            Type::Object(kind) => Ok((Op::Has(operand, field(kind, &select.field, field_at)?), Type::Bool)),
            Type::Map(_) => Ok((Op::HasKey(operand, text_node(field_at, &select.field)), Type::Bool)),
            other => wrong(field_at, format!("{other} has no field {:?}", select.field)),
        }
    }

    fn regex(
        &mut self,
        search: Search,
        text: &IdedExpr,
        pattern: &IdedExpr,
        at: usize,
    ) -> Result<(Op, Type), Wrong> {
        let (text, of) = self.boxed(text)?;
        if of != Type::Text {
            return wrong(at, format!("regular expressions are for strings; this is {of}"));
        }
        let at = self.start(pattern);
        let Expr::Literal(LiteralValue::String(pattern)) = &pattern.expr else {
            return wrong(
                at,
                "the pattern must be a literal string, so that it is checked when the rule is loaded",
            );
        };
        let pattern = compile(pattern.inner()).or_else(|message| wrong(at, message))?;
        let gives = match search {
            Search::Matches => Type::Bool,
            Search::Find => Type::Text,
            Search::FindAll(_) => Type::list(Type::Text),
        };
        Ok((Op::Regex(search, text, Box::new(pattern)), gives))
    }

    fn zone(&mut self, expr: &IdedExpr) -> Result<TimeZone, Wrong> {
        let at = self.start(expr);
        let Expr::Literal(LiteralValue::String(name)) = &expr.expr else {
            return wrong(at, "the time zone must be a literal string, such as \"Europe/Berlin\"");
        };
        let name = name.inner();
        zone(name).map_or_else(
            || {
                wrong(
                    at,
                    format!(
                        "unknown time zone {name:?}: write it like \"Europe/Berlin\", \"UTC\" or \"+02:00\""
                    ),
                )
            },
            Ok,
        )
    }

    fn each(
        &mut self,
        kind: Loop,
        range: &IdedExpr,
        variable: &IdedExpr,
        condition: &IdedExpr,
        body: Option<&IdedExpr>,
        at: usize,
    ) -> Result<(Op, Type), Wrong> {
        let range_at = self.start(range);
        let (range, range_of) = self.boxed(range)?;
        let element = match range_of {
            Type::List(of) => *of,
            Type::Map(_) => Type::Text,
            other => return wrong(range_at, format!("this is {other}, neither list nor map")),
        };
        let variable_at = self.place(variable);
        let Expr::Ident(name) = &variable.expr else {
            return wrong(
                variable_at,
                "the first argument is the name of a variable, such as exists(x, x == 1)",
            );
        };
        if VARIABLES.contains(&name.as_str()) {
            return wrong(variable_at, format!("{name:?} already has a meaning: choose another name"));
        }
        if self.locals.len() >= MAX_LOOPS {
            return wrong(at, format!("loops are nested more than {MAX_LOOPS} deep"));
        }
        self.locals.push((name.clone(), element.clone()));
        let condition_at = self.start(condition);
        let (condition, condition_of) = self.boxed(condition)?;
        let body = body.map(|body| self.boxed(body)).transpose()?;
        self.locals.pop();
        let mapped = match (kind, &body) {
            (Loop::Map, None) => Some(condition_of.clone()),
            (Loop::Map, Some((_, of))) => Some(of.clone()),
            _ => None,
        };
        if condition_of != Type::Bool && !(matches!(kind, Loop::Map) && body.is_none()) {
            return wrong(
                condition_at,
                format!("this must be true or false for each {name}; it is {condition_of}"),
            );
        }
        let of = match (kind, mapped) {
            (Loop::Map, Some(of)) => Type::list(of),
            (Loop::Filter, _) => Type::list(element),
            _ => Type::Bool,
        };
        Ok((Op::Loop(kind, range, condition, body.map(|(node, _)| node)), of))
    }
}

/// The variables that every expression can name.
pub(super) const VARIABLES: &[&str] = &["pod", "container", "finding", "events", "now"];

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn text_node(at: usize, text: &str) -> Box<Node> {
    Box::new(Node { at: u32::try_from(at).unwrap_or(u32::MAX), op: Op::Text(text.into()) })
}

fn field(kind: Kind, name: &str, at: usize) -> Result<&'static Field, Wrong> {
    let fields = kind.fields();
    if let Some(field) = fields.iter().find(|f| f.name == name) {
        return Ok(field);
    }
    let unread = match (kind, name) {
        (Kind::Meta, "annotations") => "rules cannot read annotations",
        (Kind::Container, "env" | "envFrom" | "command" | "args" | "lifecycle") => {
            "it may hold secrets, so KubeHealer does not keep it"
        }
        (Kind::Status, "containerStatuses" | "initContainerStatuses" | "ephemeralContainerStatuses") => {
            "a container's status is part of the container here: write pod.spec.containers"
        }
        _ => {
            return wrong(
                at,
                format!(
                    "unknown field {name:?} of {}{}",
                    kind.name(),
                    suggest(name, fields.iter().map(|f| f.name))
                ),
            );
        }
    };
    wrong(at, format!("{} has no field {name:?} here: {unread}", kind.name()))
}

/// Refuses to compare a field with a word that it can never hold.
fn known_word(a: &Node, b: &Node) -> Result<(), Wrong> {
    if let (Op::Get(_, field), Op::Text(word)) = (&a.op, &b.op)
        && !field.words.is_empty()
        && !field.words.contains(&&**word)
    {
        let words = field.words.iter().copied();
        return wrong(b.at as usize, format!("{} is never {word:?}{}", field.name, suggest(word, words)));
    }
    Ok(())
}

fn join(so_far: Type, next: Type, at: usize, what: &str) -> Result<Type, Wrong> {
    if !so_far.fits(&next) {
        return wrong(at, format!("{what} must be of one type: this is {next}, the first is {so_far}"));
    }
    Ok(if so_far == Type::Any || so_far == Type::list(Type::Any) { next } else { so_far })
}

fn convert(a: &Type, b: &Type) -> &'static str {
    match (a, b) {
        (Type::Int, Type::Double) | (Type::Double, Type::Int) => {
            ": convert one with double(..), or write 1.0 for 1"
        }
        (Type::Int, Type::Text) | (Type::Text, Type::Int) => ": convert one with string(..) or int(..)",
        (Type::Quantity, _) | (_, Type::Quantity) => ": convert the other with quantity(..)",
        (Type::Duration, _) | (_, Type::Duration) => ": write durations as duration(\"10m\")",
        (Type::Time, _) | (_, Type::Time) => ": write times as timestamp(\"2026-11-22T10:00:00Z\")",
        _ => "",
    }
}

/// `; did you mean ...?` for a slip, else the list of what there is.
pub(super) fn suggest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> String {
    let mut known: Vec<&str> = known.filter(|k| !k.is_empty()).collect();
    known.sort_unstable();
    known.dedup();
    // No word is so long, and the time grows with the length.
    let lower: String = name.to_lowercase().chars().take(64).collect();
    let near = known
        .iter()
        .map(|k| (strsim::levenshtein(&lower, &k.to_lowercase()), *k))
        .filter(|&(d, k)| d <= 1 + k.len() / 4)
        .min();
    match near {
        Some((_, near)) => format!("; did you mean {near:?}?"),
        None if known.len() <= 30 => format!("; there are {}", known.join(", ")),
        None => String::new(),
    }
}

/// Compiles a regular expression. The engine never backtracks: it takes time by the length of the text and the size of the
/// program, so the larger that is, the more a byte of text costs.
fn compile(pattern: &str) -> Result<Pattern, String> {
    if pattern.len() > MAX_PATTERN {
        return Err(format!("the pattern has {} bytes; at most {MAX_PATTERN} are allowed", pattern.len()));
    }
    let build = |size: usize| {
        RegexBuilder::new(pattern).size_limit(size).dfa_size_limit(256 << 10).nest_limit(16).build()
    };
    for (size, weight) in [(16 << 10, 1), (64 << 10, 4), (256 << 10, 16)] {
        match build(size) {
            Ok(regex) => return Ok(Pattern { regex, weight }),
            Err(regex::Error::CompiledTooBig(_)) => {}
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                return Err(format!(
                    "not a valid regular expression: {}",
                    last.trim_start_matches("error: ")
                ));
            }
        }
    }
    Err("the regular expression is too large once its repetitions are expanded: use smaller ones".into())
}

fn part(name: &str) -> Option<Part> {
    Some(match name {
        "getFullYear" => Part::FullYear,
        "getMonth" => Part::Month,
        "getDate" => Part::Date,
        "getDayOfMonth" => Part::DayOfMonth,
        "getDayOfWeek" => Part::DayOfWeek,
        "getDayOfYear" => Part::DayOfYear,
        "getHours" => Part::Hours,
        "getMinutes" => Part::Minutes,
        "getSeconds" => Part::Seconds,
        "getMilliseconds" => Part::Milliseconds,
        _ => return None,
    })
}

/// A time zone by its IANA name, or as an offset such as `+02:00`.
fn zone(name: &str) -> Option<TimeZone> {
    if name == "UTC" || name == "Z" {
        return Some(TimeZone::UTC);
    }
    if let Some((hours, minutes)) = name.split_once(':') {
        let sign = if hours.starts_with('-') { -1 } else { 1 };
        let hours: i32 = hours.trim_start_matches(['-', '+']).parse().ok().filter(|h| *h < 24)?;
        let minutes: i32 = minutes.parse().ok().filter(|m| (0..60).contains(m))?;
        return Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok().map(TimeZone::fixed);
    }
    TimeZone::get(name).ok()
}
