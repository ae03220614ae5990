//! The text that a server begins with on stdout.

use std::net::SocketAddr;

use crate::serve::Addresses;
use crate::settings::{Described, Settings};
use crate::shared::DURABILITY;

pub(crate) fn greeting(settings: &Settings, addresses: &Addresses) -> String {
    let Addresses { otlp_grpc, otlp_http, api } = addresses;
    let data_dir = std::path::absolute(&settings.data_dir).unwrap_or_else(|_| settings.data_dir.clone());
    let mut text = format!(
        "Tracelake {version}\n\
         \n\
         Send spans to   http://{grpc}             OTLP/gRPC\n\
         \u{20}               http://{http}/v1/traces   OTLP/HTTP\n\
         Look at         http://{api}/api/v1/traces/TRACE_ID\n\
         \u{20}               http://{api}/api/v1/search?service=NAME&min_duration=300ms\n\
         \u{20}               http://{api}/readyz  /metrics  /api/v1/status  /api/v1/openapi.json\n\
         Data            {data_dir}\n\
         Durability      {DURABILITY}: spans are acknowledged once they are synced to disk\n",
        version = env!("CARGO_PKG_VERSION"),
        grpc = reachable(*otlp_grpc),
        http = reachable(*otlp_http),
        api = reachable(*api),
        data_dir = data_dir.display(),
    );
    text.push_str(&settings_text(settings));
    for (name, addr) in [("otlp_grpc", otlp_grpc), ("otlp_http", otlp_http), ("api", api)] {
        if !addr.ip().is_loopback() {
            text.push_str(&format!(
                "Warning: {name} listens on {addr} without authentication: whoever reaches it can use it\n"
            ));
        }
    }
    text.push_str(&format!("\nlistening {addresses}\n"));
    text
}

/// The settings in force: first those that somebody set, a line each with who did, then all others as
/// they are by default, two a line: what is wrong is mostly what is not as one thinks it is.
fn settings_text(settings: &Settings) -> String {
    let (set, defaults): (Vec<_>, Vec<_>) =
        settings.describe().into_iter().partition(|setting| settings.is_set(setting));
    let mut lines = Vec::new();
    let name_width = widest(set.iter().map(|setting| setting.name));
    let value_width = widest(set.iter().map(Described::value_text));
    for setting in &set {
        let (name, value, origin) = (setting.name, setting.value_text(), &setting.origin);
        lines.push(format!("{name:name_width$}  {value:value_width$}  from {origin}"));
    }
    let set_lines = lines.len();
    let (left, right): (Vec<_>, Vec<_>) = defaults.iter().enumerate().partition(|(place, _)| place % 2 == 0);
    let widths = |column: &[(usize, &Described)]| {
        let names = widest(column.iter().map(|(_, setting)| setting.name));
        (names, widest(column.iter().map(|(_, setting)| setting.value_text())))
    };
    let ((left_names, left_values), (right_names, _)) = (widths(&left), widths(&right));
    for (place, (_, setting)) in left.iter().enumerate() {
        let mut line = format!("{:left_names$}  {:left_values$}", setting.name, setting.value_text());
        if let Some((_, setting)) = right.get(place) {
            line.push_str(&format!("   {:right_names$}  {}", setting.name, setting.value_text()));
        }
        lines.push(line);
    }
    let mut text = String::new();
    for (place, line) in lines.iter().enumerate() {
        let head = match place {
            0 if set_lines > 0 => "Settings",
            _ if place == set_lines => "Defaults",
            _ => "",
        };
        text.push_str(format!("{head:<16}{line}").trim_end());
        text.push('\n');
    }
    text
}

fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0)
}

/// The address to type: one that listens everywhere is reached here by the loopback one.
fn reachable(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), addr.port())
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), addr.port())
        }
        _ => addr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Origin;

    fn addresses(api: &str) -> Addresses {
        let addr = |text: &str| text.parse().expect("an address");
        Addresses { otlp_grpc: addr("127.0.0.1:1"), otlp_http: addr("127.0.0.1:2"), api: addr(api) }
    }

    #[test]
    fn it_says_where_to_send_and_what_programs_read() {
        let text = greeting(&Settings::default(), &addresses("127.0.0.1:3"));
        for part in [
            env!("CARGO_PKG_VERSION"),
            "http://127.0.0.1:2/v1/traces",
            "http://127.0.0.1:3/api/v1/traces/",
            "/tracelake-data\n",
            "fsync",
            "\nlistening otlp_grpc=127.0.0.1:1 otlp_http=127.0.0.1:2 api=127.0.0.1:3\n",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("Warning"), "{text}");
    }

    #[test]
    fn it_has_every_setting_in_force_and_who_set_it() {
        let all = Settings::table();
        let text = greeting(&Settings::default(), &addresses("127.0.0.1:3"));
        assert!(text.lines().count() <= 36 && text.lines().all(|line| line.chars().count() <= 110), "{text}");
        assert!(!text.contains("Settings"), "{text}");
        let (_, defaults) = text.split_once("Defaults").expect(&text);
        let words: Vec<&str> = defaults.split_whitespace().collect();
        for setting in &all {
            let value = if setting.default.is_empty() { "(none)" } else { &setting.default };
            assert!(words.windows(2).any(|pair| pair == [setting.name, value]), "{}: {text}", setting.name);
        }

        let mut settings = Settings::default();
        settings
            .set("api_addr", "0.0.0.0:3", Origin::Environment("TRACELAKE_API_ADDR".to_owned()))
            .expect("set");
        // Set to what it is anyway: still somebody's decision.
        settings.set("log_format", "text", Origin::Flag("--log-format".to_owned())).expect("set");
        let text = greeting(&settings, &addresses("0.0.0.0:3"));
        let (set, defaults) = text.split_once("Defaults").expect(&text);
        let words: Vec<&str> = set.split_whitespace().collect();
        for expected in [
            ["Settings", "api_addr", "0.0.0.0:3", "from", "TRACELAKE_API_ADDR"],
            ["TRACELAKE_API_ADDR", "log_format", "text", "from", "--log-format"],
        ] {
            assert!(words.windows(5).any(|window| window == expected), "{text}");
        }
        let names: Vec<&str> = defaults.split_whitespace().collect();
        let named = all.iter().filter(|setting| names.contains(&setting.name)).count();
        assert_eq!(named, all.len() - 2, "{text}");
    }

    #[test]
    fn it_warns_of_what_others_can_reach() {
        let text = greeting(&Settings::default(), &addresses("0.0.0.0:3"));
        assert!(text.contains("Warning: api listens on 0.0.0.0:3 without authentication"), "{text}");
        assert!(text.contains("http://127.0.0.1:3/readyz"), "{text}");
        assert!(!text.contains("Warning: otlp"), "{text}");
    }
}
