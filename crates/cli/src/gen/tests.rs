use clap::Parser;

use super::output::JsonRequests;
use super::workload::{Workload, WorkloadOptions};
use super::*;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    args: GenArgs,
}

fn args(line: &str) -> Result<GenArgs, clap::Error> {
    Command::try_parse_from(std::iter::once("gen").chain(line.split_whitespace())).map(|command| command.args)
}

#[test]
fn the_command_line_is_consistent() {
    <Command as clap::CommandFactory>::command().debug_assert();
    let defaults = args("").expect("no argument is needed");
    assert_eq!((defaults.connections, defaults.batch_spans, defaults.seed), (4, 512, None));
    assert_eq!(defaults.span_of_time, Duration::from_secs(3_600));
    for refused in
        ["--output a.jsonl --endpoint http://x", "--spans 0", "--api http://x", "--rate 0", "--end now"]
    {
        assert!(args(refused).is_err(), "{refused}");
    }
}

fn bodies(made_with: report::MadeWith) -> Vec<Vec<u8>> {
    let args = args("--spans 3000").expect("arguments");
    let mut source = Source::new(&args, made_with, Arc::new(AtomicBool::new(false))).expect("a source");
    let mut bodies = Vec::new();
    while let Some(request) = source.next().expect("a request") {
        bodies.push(request.body);
    }
    bodies
}

#[test]
fn the_same_seed_and_end_make_the_same_requests_and_another_seed_others() {
    let made_with = |seed| report::MadeWith { seed, end_unix_nano: 1_732_287_845_000_000_000 };
    assert_eq!(bodies(made_with(9)), bodies(made_with(9)));
    assert_ne!(bodies(made_with(9)), bodies(made_with(10)));
}

#[test]
fn requests_become_json_with_the_same_spans() {
    let mut workload = Workload::new(WorkloadOptions {
        seed: 1,
        spans: 2_000,
        begin_unix_nano: 1_700_000_000_000_000_000,
        end_unix_nano: 1_700_000_001_000_000_000,
        spans_of_time: 2_000,
        batch_spans: 100,
    });
    let mut json = JsonRequests::new();
    let mut spans = 0;
    while let Some(request) = workload.next_request() {
        let text = json.convert(&request.body).expect("JSON");
        let value: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        for resource in value["resourceSpans"].as_array().expect("an array") {
            for scope in resource["scopeSpans"].as_array().expect("an array") {
                spans += scope["spans"].as_array().expect("an array").len();
            }
        }
    }
    assert_eq!(spans, 2_000);
}

#[tokio::test]
async fn a_file_holds_the_whole_workload_and_the_ids_are_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let ids = folder.path().join("ids");
    for name in ["spans.binpb", "spans.binpb.zst", "spans.jsonl", "spans.jsonl.gz"] {
        let path = folder.path().join(name);
        let line = format!("--seed 1 --spans 1500 --output {} --ids-out {}", path.display(), ids.display());
        assert_eq!(run(args(&line).expect("arguments")).await.expect("a run"), Outcome::Done);
        assert!(path.metadata().expect("the file").len() > 10_000, "{name}");
        let spans: u64 = std::fs::read_to_string(&ids)
            .expect("the file of IDs")
            .lines()
            .map(|line| line.split_once(' ').expect("two words").1.parse::<u64>().expect("a number"))
            .sum();
        assert_eq!(spans, 1_500, "{name}");
    }
}
