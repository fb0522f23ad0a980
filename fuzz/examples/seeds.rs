//! Writes a corpus for each target: `fuzz/corpus/TARGET`.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use kubehealer_fuzz::seeds;

fn main() -> std::io::Result<()> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = fuzz.join("..");
    for (target, inputs) in seeds::seeds(&root).into_iter().chain(seeds::found(&root)) {
        let corpus = fuzz.join("corpus").join(target);
        std::fs::create_dir_all(&corpus)?;
        for input in inputs {
            let mut hasher = DefaultHasher::new();
            input.hash(&mut hasher);
            std::fs::write(corpus.join(format!("{:016x}", hasher.finish())), input)?;
        }
    }
    Ok(())
}
