//! Kubernetes quantities (`64Mi`, `250m`, `1e3`), for comparing and for showing.

/// The value of a quantity in base units (bytes, cores), or none if it is no quantity.
/// Suffixes as `apimachinery`'s `resource.Quantity` defines them.
pub fn parse(text: &str) -> Option<f64> {
    let text = text.trim();
    let end = text
        .char_indices()
        .find(|&(i, c)| !(c.is_ascii_digit() || c == '.' || (i == 0 && (c == '-' || c == '+'))))
        .map_or(text.len(), |(i, _)| i);
    let (number, suffix) = text.split_at(end);
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        exponent if exponent.starts_with(['e', 'E']) => {
            return text.parse().ok().filter(|v: &f64| v.is_finite());
        }
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// Bytes in the largest binary unit that keeps the figure exact to a digit, such as `64Mi` or `1.5Gi`.
pub fn bytes(value: f64) -> String {
    const UNITS: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let mut value = value;
    let mut unit = 0;
    while value.abs() >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let suffix = UNITS.get(unit).copied().unwrap_or_default();
    let rounded = (value * 10.0).round() / 10.0;
    format!("{rounded}{suffix}")
}

/// A quantity as people say it: `1073741824` and `1048576Ki` are `1Gi`; any other as it was written.
pub fn shown(text: &str) -> String {
    let digits = text.strip_suffix("Ki").unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match parse(text).filter(|value| plain && *value >= 1024f64.powi(2)) {
        Some(value) => bytes(value),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_units_and_all_else_as_it_was_written() {
        for (text, words) in [
            ("1073741824", "1Gi"),
            ("93478772582", "87.1Gi"),
            ("16384000Ki", "15.6Gi"),
            ("512Mi", "512Mi"),
            ("512000", "512000"),
            ("64", "64"),
            ("250m", "250m"),
        ] {
            assert_eq!(shown(text), words, "{text}");
        }
    }

    #[test]
    fn quantities_of_every_suffix_are_read() {
        for (text, value) in [
            ("64Mi", 67_108_864.0),
            ("250m", 0.25),
            ("2", 2.0),
            ("1e3", 1000.0),
            ("0.5Gi", 536_870_912.0),
            ("1k", 1000.0),
        ] {
            assert_eq!(parse(text), Some(value), "{text}");
        }
        for text in ["", "Mi", "64MB", "many", "1.2.3", "1e999"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn bytes_read_as_people_write_them() {
        assert_eq!(bytes(67_108_864.0), "64Mi");
        assert_eq!(bytes(1_610_612_736.0), "1.5Gi");
        assert_eq!(bytes(900.0), "900");
    }
}
