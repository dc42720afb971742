//! Writes the seeds of every target, and what broke it once, to `corpus/`, where `cargo fuzz` begins.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in rekindle_fuzz::TARGETS {
        let folder = corpus.join(target.name);
        fs::create_dir_all(&folder)?;
        let inputs = rekindle_fuzz::seeds(target.name).into_iter();
        let inputs: Vec<_> = inputs.chain(rekindle_fuzz::findings(target.name)).collect();
        for (number, bytes) in inputs.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:03}")), bytes)?;
        }
        println!("{}: {} seeds", target.name, inputs.len());
    }
    Ok(())
}
