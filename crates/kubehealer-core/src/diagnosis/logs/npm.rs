//! The errors of npm, which writes the name of an error, the system call and the file on lines of their own.

/// What a line of an error of npm gives: `npm ERR! syscall mkdir` (`npm error` since version 10).
fn field(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let rest = line.strip_prefix("npm ERR! ").or_else(|| line.strip_prefix("npm error "))?;
    let (name, value) = rest.split_once(' ')?;
    ["code", "syscall", "path", "dest", "errno"].contains(&name).then(|| (name, value.trim()))
}

/// Whether a line goes on with the error that another line began.
pub(super) fn continues(first: &str, line: &str) -> bool {
    field(first).is_some_and(|(name, _)| name == "code")
        && field(line).is_some_and(|(name, _)| name != "code")
}

/// The error in one line, in the form of Node.js: `npm: EACCES, mkdir '/.npm'`.
pub(super) fn read(lines: &[&str]) -> Option<String> {
    let value = |wanted| lines.iter().filter_map(|line| field(line)).find(|(name, _)| *name == wanted);
    let ((_, code), (_, call), (_, path)) = (value("code")?, value("syscall")?, value("path")?);
    Some(format!("npm: {code}, {call} '{path}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_an_error_are_one() {
        let lines =
            ["npm ERR! code EACCES", "npm ERR! syscall mkdir", "npm ERR! path /.npm", "npm ERR! errno -13"];
        assert!(lines.iter().skip(1).all(|line| continues(lines[0], line)));
        assert!(!continues(
            lines[0],
            "npm ERR! Your cache folder contains root-owned files, due to a bug in"
        ));
        assert!(!continues(lines[0], lines[0]) && !continues(lines[1], lines[2]));
        assert_eq!(read(&lines).unwrap(), "npm: EACCES, mkdir '/.npm'");
        assert_eq!(read(&["npm error code ERESOLVE"]), None);
    }
}
