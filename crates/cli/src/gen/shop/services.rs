//! The services.

use super::{Language, Service};

const fn service(
    name: &'static str,
    language: Language,
    namespace: &'static str,
    version: &'static str,
    port: u16,
    pods: u8,
    exports_itself: bool,
) -> Service {
    Service { name, language, namespace, version, port, pods, exports_itself }
}

/// All of them.
pub(in crate::r#gen) static SERVICES: &[Service] = &[
    service("storefront-web", Language::NodeJs, "edge", "5.18.2", 8080, 4, true),
    service("api-gateway", Language::Go, "edge", "2.31.0", 8081, 4, true),
    service("auth", Language::Go, "identity", "1.9.4", 9001, 2, true),
    service("user-accounts", Language::Java, "identity", "3.2.17", 9002, 2, false),
    service("cart", Language::DotNet, "shop", "4.7.1", 9003, 3, true),
    service("catalog", Language::Go, "shop", "2.14.9", 9004, 4, true),
    service("search", Language::Java, "shop", "6.0.3", 9005, 2, false),
    service("pricing", Language::Java, "shop", "8.11.0", 9006, 3, true),
    service("promotion", Language::Elixir, "shop", "0.23.5", 9007, 2, false),
    service("recommendation", Language::Python, "shop", "1.44.0", 9008, 2, false),
    service("review", Language::Php, "shop", "2.6.8", 9009, 2, false),
    service("media", Language::Rust, "shop", "0.8.2", 9010, 2, false),
    service("currency", Language::Cpp, "shop", "1.3.0", 9011, 2, true),
    service("checkout", Language::Go, "orders", "3.5.6", 9012, 2, true),
    service("payment", Language::Java, "orders", "5.1.2", 9013, 2, false),
    service("fraud-check", Language::Python, "orders", "2.2.1", 9014, 2, false),
    service("shipping", Language::Rust, "orders", "1.12.0", 9015, 2, false),
    service("inventory", Language::Java, "orders", "7.4.3", 9016, 3, true),
    service("order-history", Language::Ruby, "orders", "1.1.29", 9017, 2, false),
    service("email", Language::Ruby, "messaging", "1.0.14", 9018, 1, false),
    service("notification-worker", Language::Python, "messaging", "0.19.3", 9019, 2, false),
    service("warehouse-worker", Language::Java, "fulfilment", "2.8.5", 9020, 2, false),
    service("analytics-collector", Language::Go, "insight", "1.27.1", 9021, 2, false),
    service("scheduler", Language::NodeJs, "insight", "0.6.0", 9022, 1, false),
];
