//! The statements that the services send to their databases and caches.

use super::Query;

const fn postgres(
    host: &'static str,
    (operation, collection): (&'static str, &'static str),
    text: &'static str,
    work_us: u32,
) -> Query {
    Query { system: "postgresql", host, port: 5432, namespace: "shop", collection, operation, text, work_us }
}

const fn redis(host: &'static str, operation: &'static str, text: &'static str) -> Query {
    Query { system: "redis", host, port: 6379, namespace: "0", collection: "", operation, text, work_us: 320 }
}

pub(super) static PRODUCT_BY_ID: Query = postgres(
    "catalog-db",
    ("SELECT", "products"),
    "SELECT id, name, description, picture, categories FROM products WHERE id = $1",
    1_400,
);
pub(super) static PRODUCTS_BY_CATEGORY: Query = postgres(
    "catalog-db",
    ("SELECT", "products"),
    "SELECT id, name, picture FROM products WHERE category = $1 ORDER BY rank LIMIT $2",
    3_900,
);
pub(super) static PRODUCT_CACHED: Query = redis("catalog-cache", "GET", "GET product:{item}");
pub(super) static CART_CACHED: Query = redis("cart-cache", "HGETALL", "HGETALL cart:{user}");
pub(super) static CART_STORE: Query = redis("cart-cache", "HSET", "HSET cart:{user} ? ?");
pub(super) static CART_CLEAR: Query = redis("cart-cache", "DEL", "DEL cart:{user}");
pub(super) static SESSION_CACHED: Query = redis("session-cache", "GET", "GET session:{session}");
pub(super) static PRICE_RULES: Query = postgres(
    "pricing-db",
    ("SELECT", "price_rules"),
    "SELECT rule, amount, valid_until FROM price_rules WHERE sku = $1 AND region = $2",
    1_100,
);
pub(super) static PRICE_CACHED: Query = redis("pricing-cache", "MGET", "MGET price:{item} tax:{item}");
pub(super) static STOCK_BY_SKU: Query = postgres(
    "inventory-db",
    ("SELECT", "stock"),
    "SELECT sku, warehouse, available FROM stock WHERE sku IN ('{item}', '{item}')",
    1_900,
);
pub(super) static STOCK_RESERVE: Query = postgres(
    "inventory-db",
    ("UPDATE", "stock"),
    "UPDATE stock SET available = available - $1 WHERE sku = $2 AND available >= $1",
    2_800,
);
pub(super) static USER_BY_ID: Query = postgres(
    "accounts-db",
    ("SELECT", "users"),
    "SELECT id, email, locale, tier, created_at FROM users WHERE id = $1",
    1_600,
);
pub(super) static ADDRESS_BY_USER: Query = postgres(
    "accounts-db",
    ("SELECT", "addresses"),
    "SELECT street, city, zip, country FROM addresses WHERE user_id = $1 AND kind = $2",
    1_300,
);
pub(super) static REVIEWS_BY_PRODUCT: Query = Query {
    system: "mongodb",
    host: "review-db",
    port: 27017,
    namespace: "reviews",
    collection: "reviews",
    operation: "find",
    text: r#"{"find":"reviews","filter":{"product":"?"},"sort":{"at":-1},"limit":20}"#,
    work_us: 4_200,
};
pub(super) static SEARCH_INDEX: Query = Query {
    system: "elasticsearch",
    host: "search-index",
    port: 9200,
    namespace: "products-v7",
    collection: "products-v7",
    operation: "search",
    text: r#"{"query":{"multi_match":{"query":"?","fields":["name^3","description"]}},"size":24}"#,
    work_us: 11_000,
};
pub(super) static ORDER_INSERT: Query = postgres(
    "orders-db",
    ("INSERT", "orders"),
    "INSERT INTO orders (id, user_id, total, currency, placed_at) VALUES ($1, $2, $3, $4, $5)",
    3_100,
);
pub(super) static ORDER_LINE_INSERT: Query = postgres(
    "orders-db",
    ("INSERT", "order_lines"),
    "INSERT INTO order_lines (order_id, sku, quantity, price) VALUES ($1, $2, $3, $4)",
    1_200,
);
pub(super) static ORDERS_BY_USER: Query = postgres(
    "orders-db",
    ("SELECT", "orders"),
    "SELECT id, total, state, placed_at FROM orders WHERE user_id = $1 ORDER BY placed_at DESC LIMIT 10",
    6_300,
);
pub(super) static LEDGER_INSERT: Query = postgres(
    "payment-db",
    ("INSERT", "ledger"),
    "INSERT INTO ledger (order_id, kind, amount, reference) VALUES ($1, $2, $3, $4)",
    2_400,
);
pub(super) static SHIPMENT_INSERT: Query = postgres(
    "shipping-db",
    ("INSERT", "shipments"),
    "INSERT INTO shipments (order_id, carrier, tracking, address) VALUES ($1, $2, $3, $4)",
    2_200,
);
pub(super) static EVENTS_INSERT: Query = Query {
    system: "clickhouse",
    host: "insight-db",
    port: 9440,
    namespace: "insight",
    collection: "events",
    operation: "INSERT",
    text: "INSERT INTO insight.events (at, kind, user, session, properties) VALUES",
    work_us: 8_800,
};
