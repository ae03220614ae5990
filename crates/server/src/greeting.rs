//! The text that a server begins with on stdout.

use std::net::SocketAddr;

use crate::serve::Addresses;
use crate::settings::Settings;
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
         \u{20}               http://{api}/readyz  /metrics  /api/v1/status\n\
         Data            {data_dir}\n\
         Durability      {DURABILITY}: spans are acknowledged once they are synced to disk\n",
        version = env!("CARGO_PKG_VERSION"),
        grpc = reachable(*otlp_grpc),
        http = reachable(*otlp_http),
        api = reachable(*api),
        data_dir = data_dir.display(),
    );
    let changed = settings.changed();
    for (index, setting) in changed.iter().enumerate() {
        let head = if index == 0 { "Settings" } else { "" };
        let (name, value, origin) = (setting.name, &setting.value, &setting.origin);
        text.push_str(&format!("{head:<16}{name} = {value}  ({origin})\n"));
    }
    if changed.is_empty() {
        text.push_str("Settings        all defaults\n");
    }
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
            "all defaults",
            "\nlistening otlp_grpc=127.0.0.1:1 otlp_http=127.0.0.1:2 api=127.0.0.1:3\n",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("Warning"), "{text}");
    }

    #[test]
    fn it_warns_of_what_others_can_reach() {
        let text = greeting(&Settings::default(), &addresses("0.0.0.0:3"));
        assert!(text.contains("Warning: api listens on 0.0.0.0:3 without authentication"), "{text}");
        assert!(text.contains("http://127.0.0.1:3/readyz"), "{text}");
        assert!(!text.contains("Warning: otlp"), "{text}");
    }
}
