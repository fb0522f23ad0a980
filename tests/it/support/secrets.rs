//! Kinds of secrets with made-up values, from `tests/data/secrets.txt`.

/// A text with secrets in it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What it is.
    pub kind: String,
    /// The text.
    pub text: String,
    /// What must not be shown of it.
    pub secrets: Vec<String>,
}

/// All kinds. The values are the same each time.
pub fn samples() -> Vec<Sample> {
    let text = include_str!("../../data/secrets.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#') && line.contains(" | "));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    lines
        .map(|line| {
            let (kind, template) = line.split_once(" | ").unwrap();
            let text = fill(template, &mut random).replace('⏎', "\n");
            let secrets = text
                .split('«')
                .skip(1)
                .filter_map(|rest| rest.split_once('»'))
                .map(|(secret, _)| secret.to_owned());
            Sample { kind: kind.to_owned(), secrets: secrets.collect(), text: text.replace(['«', '»'], "") }
        })
        .collect()
}

/// The part of a secret that a text shows: the whole, or of a long one twelve characters.
pub fn leaks(sample: &Sample, shown: &str) -> Option<String> {
    sample.secrets.iter().find_map(|secret| {
        if shown.contains(secret.as_str()) {
            return Some(secret.clone());
        }
        let letters: Vec<char> = secret.chars().collect();
        letters
            .windows(12)
            .map(|part| part.iter().collect::<String>())
            .find(|part| shown.contains(part.as_str()))
    })
}

struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % below
    }

    fn of(&mut self, letters: &str, length: usize) -> String {
        let letters: Vec<char> = letters.chars().collect();
        (0..length).map(|_| letters[self.next(letters.len())]).collect()
    }
}

const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const DIGITS: &str = "0123456789";

fn fill(template: &str, random: &mut Random) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let made = after.split_once('}').and_then(|(name, after)| Some((make(name, random)?, after)));
        match made {
            Some((value, after)) => {
                out.push_str(&value);
                rest = after;
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    out + rest
}

fn make(name: &str, random: &mut Random) -> Option<String> {
    if name == "uuid" {
        let hex = "0123456789abcdef";
        return Some([8, 4, 4, 4, 12].map(|length| random.of(hex, length)).join("-"));
    }
    let (name, length) = name.split_once(':')?;
    let length: usize = length.parse().ok()?;
    let any = [UPPER, LOWER, DIGITS].concat();
    Some(match name {
        "hex" => random.of("0123456789abcdef", length),
        "HEX" => random.of("0123456789ABCDEF", length),
        "digits" => random.of(DIGITS, length),
        "AZ" => random.of(&[UPPER, DIGITS].concat(), length),
        "az" => random.of(&[LOWER, DIGITS].concat(), length),
        "alnum" => random.of(&any, length),
        "b64" => random.of(&[&any, "+/"].concat(), length),
        "word" => random.of(&[&any, "_-"].concat(), length.saturating_sub(1)) + &random.of(&any, 1),
        // Never a word: a capital, a small letter and a digit are always there.
        "mixed" => {
            let ends = random.of(UPPER, 1) + &random.of(LOWER, 1) + &random.of(DIGITS, 1);
            ends + &random.of(&any, length.saturating_sub(3))
        }
        _ => return None,
    })
}
